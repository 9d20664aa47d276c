/**
 * The general matrix product: tiles in workgroup memory, blocks of each tile in registers.
 *
 * Both operands' tiles lie in workgroup memory as rows of one k, four neighbours of the tile axis to a vector, so that one inner loop
 * serves every layout: blocks of 4 × 4 are transposed in registers on the way. While a tile is multiplied the next one is on its way from
 * global memory to registers. Vectors of a row are permuted (XOR with a number that depends on k) to spread stores over the banks.
 */
import { entryPoint, u32, workgroupGrid, type KernelLaunch } from "../../program.ts";
import type { WebGpuRuntime } from "../../runtime.ts";
import { activationSource, destinationBindings, destinationUniforms, hasVectorRows, isActivated, storeQuadSource, type Destination } from "./epilogue.ts";
import {
  batchSource,
  batchStart,
  batchUniforms,
  blockSource,
  layoutName,
  operandBindings,
  operandEnables,
  operandSource,
  operandUniforms,
  type OperandLayout,
} from "./operand.ts";
import type { MatmulProblem } from "./problem.ts";
import { workOf } from "./work.ts";
import { tileInvocations, tiles, type Tile, type TileName } from "./tiles.ts";

/** Tile rows that are worked through together, so that what they share of b stays in the cache. */
const rasterRows = 8;

/** How to compute a product by tiles. */
export interface TiledPlan {
  readonly kind: "tiled";
  readonly tile: TileName;
  /** Parts of k that workgroups of their own sum up. */
  readonly splits: number;
}

/** Length of each part of k, a multiple of the tile's step. */
export function splitLength(k: number, splits: number, step: number): number {
  return Math.max(step, Math.ceil(k / splits / step) * step);
}

/** Launches a product; `destination` holds `splits` outputs one after the other. */
export function launchTiled(
  runtime: WebGpuRuntime,
  problem: MatmulProblem,
  layouts: { readonly a: OperandLayout; readonly b: OperandLayout },
  plan: TiledPlan,
  destination: Destination,
): void {
  const tile = tiles[plan.tile];
  const { m, n, k, a, b, batchSizes } = problem;
  const batches = batchSizes[0] * batchSizes[1] * batchSizes[2];
  const tileRows = Math.ceil(m / tile.m);
  const tileColumns = Math.ceil(n / tile.n);
  const workgroups = tileRows * tileColumns * batches * plan.splits;
  const vectors = hasVectorRows(destination.view, n);
  const activated = isActivated(destination);
  runtime.launch({
    name: "matmul",
    variant: [plan.tile, layoutName(layouts.a), layoutName(layouts.b), vectors ? "vectors" : "", activated ? "activation" : ""].join(" "),
    bindings: {
      ...operandBindings("a", a, layouts.a),
      ...operandBindings("b", b, layouts.b),
      ...destinationBindings(destination, a.view, vectors ? "vec4<f32>" : "f32"),
    },
    uniforms: {
      m: u32(m),
      n: u32(n),
      k: u32(k),
      workgroups: u32(workgroups),
      batches: u32(batches),
      tileRows: u32(tileRows),
      tileColumns: u32(tileColumns),
      splitLength: u32(splitLength(k, plan.splits, tile.k)),
      ...batchUniforms(batchSizes),
      ...operandUniforms("a", a, layouts.a),
      ...operandUniforms("b", b, layouts.b),
      ...destinationUniforms(destination),
    },
    workgroups: workgroupGrid(workgroups),
    work: workOf(problem, destination, plan.splits),
    enables: operandEnables(layouts.a, layouts.b),
    code: () => tiledSource(tile, layouts.a, layouts.b, vectors, activated),
  } satisfies KernelLaunch);
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
const lines = (texts: readonly string[], indent: string): string => texts.map((text) => indent + text).join("\n");

/** One block of 4 × 4 that an invocation carries from global to workgroup memory at every step. */
interface Slot {
  readonly name: string;
  /** Conditions under which the block is one of a, and of b. */
  readonly a: "always" | "never" | string;
  readonly b: "always" | "never" | string;
  readonly firstTask: number;
}

function slotsOf(tile: Tile): Slot[] {
  const invocations = tileInvocations(tile);
  const tasksA = (tile.m * tile.k) / 16;
  const tasks = tasksA + (tile.n * tile.k) / 16;
  return range(Math.ceil(tasks / invocations)).map((slot) => {
    const first = slot * invocations;
    const end = first + invocations;
    const within = (from: number, to: number): string => {
      if (first >= from && end <= to) return "always";
      if (end <= from || first >= to) return "never";
      return [first < from ? `task${slot} >= ${from}u` : "", end > to ? `task${slot} < ${to}u` : ""].filter(Boolean).join(" && ");
    };
    return { name: `${slot}`, a: within(0, tasksA), b: within(tasksA, tasks), firstTask: first };
  });
}

/** Text for each operand that a slot may carry. */
function forEachOperand(slot: Slot, text: (operand: "a" | "b") => string): string {
  return (["a", "b"] as const)
    .filter((operand) => slot[operand] !== "never")
    .map((operand) => (slot[operand] === "always" ? text(operand) : `if (${slot[operand]}) { ${text(operand)} }`))
    .join("\n");
}

/** The shader for one tile and one pair of layouts. */
export function tiledSource(tile: Tile, a: OperandLayout, b: OperandLayout, vectors: boolean, activated: boolean): string {
  const invocations = tileInvocations(tile);
  const across = tile.n / tile.columns;
  const down = tile.m / tile.rows;
  const quads = { a: tile.m / 4, b: tile.n / 4 };
  const steps = tile.k / 4;
  const swizzle = 32 / tile.k;
  const slots = slotsOf(tile);
  const tasksA = quads.a * steps;
  const layouts = { a, b };

  // Neighbouring invocations take neighbours in global memory.
  const place = (operand: "a" | "b", task: string): string =>
    layouts[operand].access === "alongTile"
      ? `vec2<u32>(${task} % ${quads[operand]}u, ${task} / ${quads[operand]}u)`
      : `vec2<u32>(${task} / ${steps}u, ${task} % ${steps}u)`;
  const places = slots.map((slot) => {
    const ofA = place("a", `task${slot.name}`);
    const ofB = place("b", `(task${slot.name} - ${tasksA}u)`);
    const chosen = slot.a === "always" ? ofA : slot.a === "never" ? ofB : `select(${ofB}, ${ofA}, task${slot.name} < ${tasksA}u)`;
    return `let task${slot.name} = lane + ${slot.firstTask}u;
  let place${slot.name} = ${chosen};
  var block${slot.name} = mat4x4<f32>();`;
  });
  const fetch = (k: string): string =>
    slots
      .map((slot) =>
        forEachOperand(
          slot,
          (operand) =>
            `block${slot.name} = ${operand}Block(${operand}Start, ${operand}Tile + place${slot.name}.x * 4u, ${k} + place${slot.name}.y * 4u, kEnd);`,
        ),
      )
      .join("\n");
  const store = slots
    .map((slot) =>
      forEachOperand(slot, (operand) => {
        const { name } = slot;
        const place = (i: number): string => `[half + place${name}.y][${i}][place${name}.x ^ (place${name}.y * ${swizzle}u)]`;
        const target = operand === "a" ? "tileA" : "tileB";
        return range(4)
          .map((i) => `${target}${place(i)} = block${name}[${i}];`)
          .join(" ");
      }),
    )
    .join("\n");

  const rowQuads = range(tile.rows / 4);
  const columnQuads = range(tile.columns / 4);
  const sums = rowQuads.flatMap((i) => range(4).flatMap((r) => columnQuads.map((j) => ({ i, r, j, name: `sum${i * 4 + r}_${j}` }))));
  const multiply = range(4).flatMap((i) => [
    ...rowQuads.map((q) => `let a${i}_${q} = tileA[half + step][${i}][placeA${q}];`),
    ...columnQuads.map((q) => `let b${i}_${q} = tileB[half + step][${i}][placeB${q}];`),
    ...sums.map((sum) => `${sum.name} += a${i}_${sum.i}.${"xyzw"[sum.r]!} * b${i}_${sum.j};`),
  ]);

  // A second pass of each invocation over what it stored, in a loop: the activations' code appears once, not once an element.
  const activation = `  for (var i = 0u; i < ${tile.rows}u; i++) {
    let row = tileRow * ${tile.m}u + (y + (i / 4u) * ${down}u) * 4u + i % 4u;
    if (row >= uniforms.m) { continue; }
    for (var j = 0u; j < ${vectors ? columnQuads.length : tile.columns}u; j++) {
      let column = tileColumn * ${tile.n}u + (x + ${vectors ? "j" : "(j / 4u)"} * ${across}u) * 4u${vectors ? "" : " + j % 4u"};
      if (column >= uniforms.n) { continue; }
      let place = outputStart + ${vectors ? "(row * uniforms.n + column) / 4u" : "row * uniforms.n + column"};
      let value = output[place];
      output[place] = ${vectors ? "vec4<f32>(activate(value.x), activate(value.y), activate(value.z), activate(value.w))" : "activate(value)"};
    }
  }`;

  const toggle = tile.buffers === 2;
  // Arrays of arrays: Tint keeps each index within its bounds. So the four k of a step share that work, and differ by a constant only,
  // which loads have room for; of one long array each load's index is computed and clamped by itself.
  const tileType = (operand: "a" | "b"): string => `array<array<array<vec4<f32>, ${quads[operand]}>, 4>, ${steps * tile.buffers}>`;
  return [
    `var<workgroup> tileA: ${tileType("a")};
var<workgroup> tileB: ${tileType("b")};
`,
    batchSource,
    operandSource("a", a),
    blockSource("a", a),
    operandSource("b", b),
    blockSource("b", b),
    storeQuadSource(vectors),
    activated ? activationSource() : "",
    entryPoint(
      invocations,
      `  if (workgroup >= uniforms.workgroups) { return; }
  let tilesOfOne = uniforms.tileRows * uniforms.tileColumns;
  let position = workgroup % tilesOfOne;
  let batch = (workgroup / tilesOfOne) % uniforms.batches;
  let split = workgroup / (tilesOfOne * uniforms.batches);
  // Tiles in stripes of ${rasterRows} rows, column by column.
  let firstRow = position / (${rasterRows}u * uniforms.tileColumns) * ${rasterRows}u;
  let stripeRows = min(uniforms.tileRows - firstRow, ${rasterRows}u);
  let inStripe = position % (${rasterRows}u * uniforms.tileColumns);
  let tileRow = firstRow + inStripe % stripeRows;
  let tileColumn = inStripe / stripeRows;
  let aTile = tileRow * ${tile.m}u;
  let bTile = tileColumn * ${tile.n}u;
  let aStart = ${batchStart("a")};
  let bStart = ${batchStart("b")};
  let kStart = split * uniforms.splitLength;
  let kEnd = min(kStart + uniforms.splitLength, uniforms.k);
  // 32 neighbours are 8 × 4: as a row of 16 or 32 they would read more different vectors of the tiles.
  let cluster = lane / 32u;
  let x = cluster % ${across / 8}u * 8u + lane % 8u;
  let y = cluster / ${across / 8}u * 4u + lane / 8u % 4u;
  ${places.join("\n  ")}
  ${sums.map(({ name }) => `var ${name} = vec4<f32>();`).join(" ")}
  ${toggle ? "var" : "const"} half = 0u;
  // Each turn fetches a step of k into registers and multiplies the one before, so that the loads have all that time to arrive.
  for (var k = kStart; k < kEnd + ${tile.k}u; k += ${tile.k}u) {
    if (k < kEnd) {
${lines(fetch("k").split("\n"), "      ")}
    }
    if (k > kStart) {
      for (var step = 0u; step < ${steps}u; step++) {
${rowQuads.map((q) => `        let placeA${q} = (y + ${q * down}u) ^ (step * ${swizzle}u);`).join("\n")}
${columnQuads.map((q) => `        let placeB${q} = (x + ${q * across}u) ^ (step * ${swizzle}u);`).join("\n")}
${lines(multiply, "        ")}
      }
    }
    ${toggle ? `half = ${steps}u - half;` : "workgroupBarrier();"}
    if (k < kEnd) {
${lines(store.split("\n"), "      ")}
    }
    workgroupBarrier();
  }
  let outputStart = uniforms.outputOffset + (split * uniforms.batches + batch) * uniforms.m * uniforms.n${vectors ? " / 4u" : ""};
  ${sums.map(({ i, r, j, name }) => `storeQuad(outputStart, aTile + (y + ${i * down}u) * 4u + ${r}u, bTile + (x + ${j * across}u) * 4u, ${name});`).join("\n  ")}
${activated ? activation : ""}`,
    ),
  ].join("");
}
