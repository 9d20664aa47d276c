/**
 * Replaces functions of one WebAssembly module by those of the same export names in another: how inner loops whose instruction order
 * matters escape the optimizer (`assembly/gemm-tile.ts`). The functions may use nothing but their parameters, locals and the memory,
 * because indices of other things differ.
 */

/** Where things stand in a module's bytes. */
interface ModuleLayout {
  /** Index of the first function that has a body. */
  readonly importedFunctions: number;
  readonly exportedFunctions: ReadonlyMap<string, number>;
  readonly codeStart: number;
  readonly codeEnd: number;
  readonly bodies: readonly Uint8Array[];
}

const sections = { import: 2, export: 7, code: 10 };
const kinds = { function: 0, memory: 2 };

function readLayout(binary: Uint8Array): ModuleLayout {
  let at = 8;
  const readNumber = (): number => {
    let result = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = binary[at++]!;
      result |= (byte & 127) << shift;
      if (byte < 128) return result >>> 0;
    }
  };
  const readName = (): string => {
    const length = readNumber();
    at += length;
    return new TextDecoder().decode(binary.subarray(at - length, at));
  };
  let importedFunctions = 0;
  const exportedFunctions = new Map<string, number>();
  let codeStart = 0;
  let codeEnd = 0;
  const bodies: Uint8Array[] = [];
  while (at < binary.length) {
    const start = at;
    const section = binary[at++];
    const size = readNumber();
    const end = at + size;
    if (section === sections.import) {
      for (let left = readNumber(); left > 0; left--) {
        readName();
        readName();
        const kind = binary[at++];
        if (kind === kinds.function) {
          importedFunctions++;
          readNumber();
        } else if (kind === kinds.memory) {
          const hasMaximum = readNumber() & 1;
          readNumber();
          if (hasMaximum) readNumber();
        } else {
          throw new Error(`cannot splice a module that imports something of kind ${kind}`);
        }
      }
    } else if (section === sections.export) {
      for (let left = readNumber(); left > 0; left--) {
        const name = readName();
        const kind = binary[at++];
        const index = readNumber();
        if (kind === kinds.function) exportedFunctions.set(name, index);
      }
    } else if (section === sections.code) {
      codeStart = start;
      codeEnd = end;
      for (let left = readNumber(); left > 0; left--) {
        const length = readNumber();
        bodies.push(binary.subarray(at, at + length));
        at += length;
      }
    }
    at = end;
  }
  return { importedFunctions, exportedFunctions, codeStart, codeEnd, bodies };
}

function encodeNumber(value: number): Uint8Array {
  const bytes: number[] = [];
  do {
    const rest = value >>> 7;
    bytes.push((value & 127) | (rest > 0 ? 128 : 0));
    value = rest;
  } while (value > 0);
  return Uint8Array.from(bytes);
}

/** `binary` with the body of every function that `replacements` exports taken from there. */
export function spliceFunctions(binary: Uint8Array, replacements: Uint8Array): Uint8Array {
  const layout = readLayout(binary);
  const source = readLayout(replacements);
  const bodies = [...layout.bodies];
  for (const [name, index] of source.exportedFunctions) {
    const target = layout.exportedFunctions.get(name);
    if (target === undefined) throw new Error(`there is no exported function ${name} to replace`);
    bodies[target - layout.importedFunctions] = source.bodies[index - source.importedFunctions]!;
  }
  const payload = Buffer.concat([encodeNumber(bodies.length), ...bodies.flatMap((body) => [encodeNumber(body.length), body])]);
  const result = Buffer.concat([
    binary.subarray(0, layout.codeStart), Uint8Array.of(sections.code), encodeNumber(payload.length), payload,
    binary.subarray(layout.codeEnd),
  ]);
  if (!WebAssembly.validate(result)) {
    throw new Error("the spliced module is not valid: do the replaced functions use only parameters, locals and memory?");
  }
  return result;
}
