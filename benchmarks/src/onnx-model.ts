/**
 * Writes small ONNX models (protobuf), so that ONNX Runtime can be given single operators and whole decoders without a file from
 * elsewhere.
 */

const utf8 = new TextEncoder();

/** A protobuf message in the making: field numbers are those of onnx.proto3. */
class Message {
  readonly #parts: Uint8Array[] = [];

  #varint(value: number): void {
    const bytes: number[] = [];
    let rest = BigInt.asUintN(64, BigInt(value));
    do {
      bytes.push(Number(rest & 127n) | (rest > 127n ? 128 : 0));
      rest >>= 7n;
    } while (rest > 0n);
    this.#parts.push(Uint8Array.from(bytes));
  }

  integer(field: number, value: number): this {
    this.#varint(field << 3);
    this.#varint(value);
    return this;
  }

  float(field: number, value: number): this {
    this.#varint((field << 3) | 5);
    this.#parts.push(new Uint8Array(Float32Array.of(value).buffer));
    return this;
  }

  bytes(field: number, value: Uint8Array): this {
    this.#varint((field << 3) | 2);
    this.#varint(value.length);
    this.#parts.push(value);
    return this;
  }

  text(field: number, value: string): this {
    return this.bytes(field, utf8.encode(value));
  }

  message(field: number, value: Message): this {
    return this.bytes(field, value.finish());
  }

  finish(): Uint8Array {
    const result = new Uint8Array(this.#parts.reduce((total, part) => total + part.length, 0));
    let at = 0;
    for (const part of this.#parts) {
      result.set(part, at);
      at += part.length;
    }
    return result;
  }
}

/** Element types of values. */
export type ElementType = "float32" | "int32" | "int64";
const elementTypes: Readonly<Record<ElementType, number>> = { float32: 1, int32: 6, int64: 7 };

/** A named input or output; a dimension may be a name. */
export interface Value {
  readonly name: string;
  readonly type: ElementType;
  readonly shape: readonly (number | string)[];
}

/** A weight. */
export interface Initializer {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array | Int32Array | BigInt64Array;
}

/** One operator. Whole numbers are integer attributes unless named in `floats`. */
export interface Node {
  readonly operator: string;
  readonly domain?: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly integers?: Readonly<Record<string, number>>;
  readonly floats?: Readonly<Record<string, number>>;
}

/** A graph. */
export interface Graph {
  readonly nodes: readonly Node[];
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
  readonly initializers?: readonly Initializer[];
}

function valueInfo({ name, type, shape }: Value): Message {
  const dimensions = new Message();
  for (const size of shape) dimensions.message(1, typeof size === "number" ? new Message().integer(1, size) : new Message().text(2, size));
  return new Message()
    .text(1, name)
    .message(2, new Message().message(1, new Message().integer(1, elementTypes[type]).message(2, dimensions)));
}

function node({ operator, domain, inputs, outputs, integers = {}, floats = {} }: Node): Message {
  const message = new Message();
  for (const input of inputs) message.text(1, input);
  for (const output of outputs) message.text(2, output);
  message.text(4, operator);
  for (const [name, value] of Object.entries(integers)) message.message(5, new Message().text(1, name).integer(3, value).integer(20, 2));
  for (const [name, value] of Object.entries(floats)) message.message(5, new Message().text(1, name).float(2, value).integer(20, 1));
  if (domain !== undefined) message.text(7, domain);
  return message;
}

function tensor({ name, shape, values }: Initializer): Message {
  const type = values instanceof Float32Array ? "float32" : values instanceof Int32Array ? "int32" : "int64";
  const message = new Message();
  for (const size of shape) message.integer(1, size);
  return message
    .integer(2, elementTypes[type])
    .text(8, name)
    .bytes(9, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
}

/** The bytes of a model, operator set 17 plus ONNX Runtime's own (`com.microsoft`). */
export function onnxModel({ nodes, inputs, outputs, initializers = [] }: Graph): Uint8Array {
  const graph = new Message();
  for (const entry of nodes) graph.message(1, node(entry));
  graph.text(2, "graph");
  for (const entry of initializers) graph.message(5, tensor(entry));
  for (const entry of inputs) graph.message(11, valueInfo(entry));
  for (const entry of outputs) graph.message(12, valueInfo(entry));
  const operatorSet = (domain: string, version: number): Message => new Message().text(1, domain).integer(2, version);
  return new Message().integer(1, 8).message(7, graph).message(8, operatorSet("", 17)).message(8, operatorSet("com.microsoft", 1)).finish();
}
