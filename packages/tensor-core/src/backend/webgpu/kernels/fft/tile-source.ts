/** Shader text of transforms in workgroup memory: straight-line passes for one length, with the points of a pass in registers. */
import { entryPoint } from "../../program.ts";
import { accessSource } from "./access.ts";
import { butterflySource } from "./butterfly.ts";
import type { TransformText } from "./job.ts";
import { lineSource, splitLoop } from "./lines.ts";
import type { TileShape } from "./tile-shape.ts";

/** Where a pass reads or writes: tensors; workgroup memory; that, with Bluestein's product on the way. */
type PassEnd = "tensors" | "memory" | "product";

/** Stockham passes over a tile of lines. */
class TilePasses {
  readonly #shape: TileShape;
  #passes = 0;

  constructor(shape: TileShape) {
    this.#shape = shape;
  }

  get line(): string {
    return this.#shape.tileLines === 1 ? "onlyLine" : "lines[t]";
  }

  place(index: string): string {
    const { tileLines, stride, padded } = this.#shape;
    const start = tileLines === 1 ? "" : `t * ${stride}u + `;
    return padded ? `memory[${start}padded(${index})]` : `memory[${start}${index}]`;
  }

  /** The whole transform. */
  all(from: PassEnd, to: PassEnd): string {
    const { radices } = this.#shape;
    let before = 1;
    return radices
      .map((radix, i) => {
        const text = this.#pass(radix, before, i === 0 ? from : "memory", i === radices.length - 1 ? to : "memory");
        before *= radix;
        return text;
      })
      .join("");
  }

  /**
   * Butterfly b of `length / radix` takes points b + j * length / radix; its result k goes, times a root, to
   * b mod before + before * (radix * floor(b / before) + k). `before` is the product of the radices of earlier passes.
   */
  #pass(radix: number, before: number, from: PassEnd, to: PassEnd): string {
    const { length, tileLines, lanes } = this.#shape;
    const count = length / radix;
    const isLast = before * radix === length;
    // Tensors are read and written in the order of their memory, workgroup memory line by line.
    const across = from === "tensors" ? "loadAcross" : to === "tensors" ? "storeAcross" : undefined;
    const register = `pass${this.#passes++}Unit`;
    const reads: string[] = [];
    const writes: string[] = [];
    for (let unit = 0; unit * lanes < count * tileLines; unit++) {
      const item = this.#item(unit, count, across);
      const isWhole = (unit + 1) * lanes <= count * tileLines;
      const open = isWhole ? "  {" : `  if (lane + ${unit * lanes}u < ${count * tileLines}u) {`;
      const points = Array.from({ length: radix }, (_, j) => {
        const index = `b + ${j * count}u`;
        return from === "tensors" ? `loadLine(${this.line}, ${index})` : this.place(index);
      });
      const type = `array<vec2<f32>, ${radix}>`;
      const transform = `    ${register}${unit} = dft${radix}(${type}(${points.join(", ")}));\n  }\n`;
      reads.push(`  var ${register}${unit}: ${type};\n${open}\n${item}${transform}`);
      const results = Array.from({ length: radix }, (_, k) => {
        const value = `${register}${unit}[${k}]`;
        if (isLast) return this.#store(to, `b + ${k * before}u`, value);
        return this.#store(to, `start + ${k * before}u`, k === 0 ? value : `multiply(${value}, roots[${k * before}u * p])`);
      });
      const start = isLast ? "" : `    let p = b / ${before}u;\n    let start = b % ${before}u + ${before * radix}u * p;\n`;
      writes.push(`${open}\n${item}${start}${results.join("")}  }\n`);
    }
    const readFirst = from === "memory" && to !== "tensors" ? "  workgroupBarrier();\n" : "";
    return `${reads.join("")}${readFirst}${writes.join("")}${to === "tensors" ? "" : "  workgroupBarrier();\n"}`;
  }

  /** Line t and butterfly b of one unit of work of a lane. */
  #item(unit: number, count: number, across: string | undefined): string {
    const { tileLines, lanes } = this.#shape;
    const e = `lane + ${unit * lanes}u`;
    if (tileLines === 1) return `    let b = ${e};\n`;
    if (across === undefined) return `    let e = ${e};\n    let t = e / ${count}u;\n    let b = e % ${count}u;\n`;
    return `    let e = ${e};
    let t = select(e / ${count}u, e % ${tileLines}u, uniforms.${across} != 0u);
    let b = select(e % ${count}u, e / ${tileLines}u, uniforms.${across} != 0u);\n`;
  }

  #store(to: PassEnd, index: string, value: string): string {
    switch (to) {
      case "tensors":
        return `    storeLine(${this.line}, ${index}, ${value});\n`;
      case "memory":
        return `    ${this.place(index)} = ${value};\n`;
      case "product":
        return `    ${this.place(index)} = multiply(${value}, spectrum[${index}]).yx;\n`;
    }
  }
}

/** The shader of a tile kernel. */
export function tileSource(shape: TileShape, { source, target, steps, twiddle, convolves }: TransformText): string {
  const { radices, tileLines, lanes, stride, padded } = shape;
  const passes = new TilePasses(shape);
  const isHalf = target.kind === "half";
  const end: PassEnd = isHalf ? "memory" : "tensors";
  const transforms = convolves ? passes.all("tensors", "product") + passes.all("memory", end) : passes.all("tensors", end);
  const declareLines = tileLines === 1 ? "" : `var<workgroup> lines: array<vec4<u32>, ${tileLines}>;\n`;
  const findLines =
    tileLines === 1
      ? `  if (workgroup >= uniforms.lineCount) { return; }
  let onlyLine = findLine(workgroup);\n`
      : `  if (lane < ${tileLines}u) { lines[lane] = findLine(workgroup * ${tileLines}u + lane); }
  workgroupBarrier();\n`;
  const split = isHalf ? splitLoop(`${lanes}u`, `${tileLines}u`, passes.line, (k) => passes.place(k)) : "";
  const needsMemory = radices.length > 1 || convolves || isHalf;
  return `${needsMemory ? `var<workgroup> memory: array<vec2<f32>, ${tileLines * stride}>;\n` : ""}${declareLines}
${padded ? "fn padded(index: u32) -> u32 { return index + (index >> 4u); }\n" : ""}${accessSource(source, target)}
${lineSource(steps, twiddle, !isHalf)}
${[...new Set(radices)].map((radix) => butterflySource(radix)).join("")}
${entryPoint(lanes, `${findLines}${transforms}${split}`)}
`;
}
