import type { FuzzRandom } from "./fuzz-random.testing.ts";

/** JSON that is made to be slow or large. All of them fit into a control frame. */
export const JSON_BOMBS: readonly string[] = [
  "[".repeat(65_536),
  "[".repeat(32_768) + "]".repeat(32_768),
  '{"a":'.repeat(10_000) + "0" + "}".repeat(10_000),
  `{"session":${"9".repeat(65_000)}}`,
  `{"session":1e${"9".repeat(60_000)}}`,
  `{"client":"${String.raw`\u0000`.repeat(10_000)}"}`,
  `{"client":"${String.raw`\ud800`.repeat(10_000)}"}`,
  JSON.stringify(Object.fromEntries(Array.from({ length: 6000 }, (_, index) => [`k${index}`, 0]))),
  JSON.stringify({ prefixes: Array.from({ length: 30_000 }, () => 0) }),
  JSON.stringify({ sampling: { stopTokenIds: Array.from({ length: 12_000 }, (_, index) => index) } }),
  `{${'"session":1,'.repeat(5000)}"session":1}`,
  " ".repeat(65_536),
];

/** A value that does not belong. */
function strange(random: FuzzRandom): unknown {
  return random.pick<() => unknown>([
    () => random.hostile(), () => -random.hostile(), () => random.word() / 7, () => 1e308, () => null, () => true, () => "",
    () => "x".repeat(random.length(5000)), () => [], () => ({}), () => [[[[random.word()]]]], () => "ab".repeat(32),
    () => "\u0000\u202e\ud800", () => ({ length: 0xffff_ffff }),
    () => Array.from({ length: random.length(2000) }, () => random.word()),
  ])();
}

/** JSON of a message with some of its fields changed, left out or added; now and then broken as text, or made to be slow. */
export function spoiledJson(random: FuzzRandom, message: object): Uint8Array {
  const encoder = new TextEncoder();
  if (random.oneIn(60)) return encoder.encode(random.pick(JSON_BOMBS));
  const copy = structuredClone(message) as Record<string, unknown>;
  for (let changes = 1 + random.below(2); changes > 0; changes--) {
    let target = copy;
    const keys = Object.keys(target);
    const key = random.pick(keys);
    const inner = target[key];
    if (typeof inner === "object" && inner !== null && !Array.isArray(inner) && random.oneIn(2)) target = inner as Record<string, unknown>;
    const place = random.oneIn(2) || keys.length === 0 ? key : random.pick([...Object.keys(target), key]);
    if (random.oneIn(5)) delete target[place];
    else if (random.oneIn(6)) Object.defineProperty(target, random.pick(["__proto__", "constructor", "toString", "", "more"]), {
      value: strange(random), enumerable: true, configurable: true, writable: true,
    });
    else target[place] = strange(random);
  }
  const bytes = encoder.encode(JSON.stringify(copy));
  return random.oneIn(3) ? random.spoil(bytes) : bytes;
}
