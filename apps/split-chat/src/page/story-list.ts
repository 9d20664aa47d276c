import { element, textElement } from "./element.ts";
import type { StorySettings, WrittenStory } from "./story-writer.ts";
import { formatBytes, formatError } from "./traffic-view.ts";

/** Two stories that set out alike part after as many tokens. */
export function sameTokens(story: readonly number[], exact: readonly number[]): number {
  const parting = story.findIndex((id, index) => exact[index] !== id);
  return parting < 0 ? story.length : parting;
}

/** The stories so far, each held against the exact one with the same beginning. */
export class StoryList {
  readonly #exact = new Map<string, readonly number[]>();

  /** Adds a row for a story. */
  add({ prompt, codec, ratio, temperature }: StorySettings, { tokenIds, traffic, tokensPerSecond }: WrittenStory): void {
    const isGreedy = temperature === 0;
    const known = this.#exact.get(prompt);
    if (isGreedy && codec.name === "float32" && tokenIds.length > (known?.length ?? 0)) this.#exact.set(prompt, tokenIds);
    const exact = isGreedy ? this.#exact.get(prompt) : undefined;
    const same = exact === undefined ? 0 : sameTokens(tokenIds.slice(0, exact.length), exact);
    const row = document.createElement("tr");
    const cells = [
      codec.isFixedRate ? codec.label : `${codec.label}, ${ratio} ×`,
      formatBytes(traffic.activationBytes), traffic.byteRatioFloat16.toFixed(2),
      traffic.byteRatioFloat32.toFixed(2), formatError(traffic.relativeError), tokensPerSecond.toFixed(0),
      exact === undefined ? "–" : `${same} of ${Math.min(tokenIds.length, exact.length)}`,
    ];
    row.append(...cells.map((cell) => textElement("td", cell)));
    const body = element("runs", HTMLTableElement).tBodies[0]!;
    body.querySelector(".placeholder")?.remove();
    body.prepend(row);
  }
}
