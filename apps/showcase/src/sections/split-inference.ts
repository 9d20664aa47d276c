import {
  calibrateModel, comparePerplexity, sampleSequences, SplitClient, webSocketTransport, type ClientTraffic, type CodecTable, type PerplexityRow,
} from "@frugal/fourier-compress";
import { createSplitServer, listenWebSocket } from "@frugal/fourier-compress/server";
import {
  generateTokens, loadLlamaTokenizer, loadModel, modelFingerprint, openStories15m, type DecoderModel, type Tokenizer, type WeightSource,
} from "@frugal/language-model";
import { lineChart } from "../report/charts.ts";
import type { ReportBlock, Section, SectionContext } from "../section.ts";

const splitBlock = 1;
const beginToken = 1;
const prompt = "Once upon a time";
const storyTokens = 100;
/** The paper's mean ratio. */
const ratio = 7.6;
const calibration = { count: 14, maxTokens: 120, temperature: 0.9, seed: 100 };
const test = { count: 5, maxTokens: 120, temperature: 0.9, seed: 900 };
/** Keys as of `comparePerplexity`, with what the table calls them. */
const compared: { readonly [key: string]: string } = {
  klt: "KLT + rANS", channel: "per channel + rANS", hadamard: "Hadamard + rANS", int4: "int4, groups of 32", int8: "int8, groups of 64",
  "top-k": "Top-k", svd: "SVD", "fourier-hermitian": "FC Hermitian", "fourier-literal": "FC literal",
  "fourier-hermitian:elements": "FC Hermitian, by elements", "fourier-literal:elements": "FC literal, by elements",
};
const curves = ["klt", "channel"];
const curveRatios = [4, 6, 7.6, 10];

interface SplitStory {
  readonly text: string;
  readonly ids: readonly number[];
  readonly traffic: ClientTraffic;
  readonly tokensPerSecond: number;
}

/** Both halves in this process, with a real WebSocket of the loopback interface between them. */
async function writeSplit(
  source: WeightSource, tokenizer: Tokenizer, table: CodecTable, codecs: readonly string[], context: SectionContext,
): Promise<SplitStory[]> {
  const fingerprint = await modelFingerprint(source.config);
  using device = await loadModel(source, { parts: { blocks: [0, splitBlock], head: false } });
  using rest = await loadModel(source, { parts: { blocks: [splitBlock, source.config.numHiddenLayers], embedding: false } });
  const server = createSplitServer({ model: rest, fingerprint, tables: [table], exact: true });
  const listener = await listenWebSocket(server);
  try {
    const stories: SplitStory[] = [];
    for (const name of codecs) {
      using client = await SplitClient.connect({
        transport: webSocketTransport(listener.url), model: device, splitBlock, result: "token", errorSampling: 4,
        ...(name === "float32" ? { codec: { name } } : { codec: { name, mode: { kind: "ratio", ratio } }, table }),
      });
      const ids = tokenizer.encode(prompt);
      const start = ids.length;
      const started = performance.now();
      context.progress.write(`  ${name}: ${prompt}`);
      const decoder = tokenizer.streamDecoder({ continuation: true });
      for await (const { id } of client.generate(ids.slice(), { maxNewTokens: storyTokens, stopTokenIds: [1, 2], signal: context.signal })) {
        ids.push(id);
        context.progress.write(decoder.push(id).replaceAll("\n", "\n  "));
      }
      context.progress.write("\n");
      const seconds = (performance.now() - started) / 1000;
      stories.push({ ids: ids.slice(start), text: tokenizer.decode(ids), traffic: client.traffic(), tokensPerSecond: (ids.length - start) / seconds });
    }
    return stories;
  } finally {
    await listener.close();
    await server.close();
  }
}

async function writeWhole(model: DecoderModel, promptIds: readonly number[], signal: AbortSignal): Promise<number[]> {
  const ids: number[] = [];
  for await (const { id } of generateTokens(model, promptIds, { maxNewTokens: storyTokens, stopTokenIds: [1, 2], signal })) ids.push(id);
  return ids;
}

const kilobytes = (bytes: number): string => `${(bytes / 1000).toFixed(1)} kB`;
const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

function tableRow({ codec, traffic, perplexity, agreement }: PerplexityRow): string[] {
  const label = compared[codec]!;
  if (traffic === undefined) return [label, "–", "–", "–", "–", "–", "–"];
  return [
    label, traffic.elementRatio.toFixed(1), traffic.byteRatioFloat16.toFixed(1), traffic.byteRatioFloat32.toFixed(1), traffic.relativeError.toFixed(3),
    perplexity!.toFixed(perplexity! < 100 ? 2 : 0), percent(agreement!),
  ];
}

/** Half a model on each side of a socket, and what codecs between them cost. */
export const splitInferenceSection: Section = {
  title: "A model split between a device and a server",
  packageName: "fourier-compress",
  async run(context) {
    const { progress, signal } = context;
    const source = await openStories15m();
    try {
      const tokenizer = await loadLlamaTokenizer();
      using whole = await loadModel(source, { signal });
      const stories = calibration.count + test.count;
      progress.start("stories to calibrate and to test with", stories);
      const calibrationStories = await sampleSequences(whole, beginToken, { ...calibration, signal, onProgress: (done) => progress.update(done) });
      const onProgress = (done: number): void => progress.update(calibration.count + done);
      const testStories = await sampleSequences(whole, beginToken, { ...test, signal, onProgress });
      progress.stop();
      progress.line("  calibrating …");
      const table = await calibrateModel(whole, calibrationStories, { model: await modelFingerprint(source.config), splitBlock, source, signal });

      const wholeIds = await writeWhole(whole, tokenizer.encode(prompt), signal);
      const [raw, coded] = (await writeSplit(source, tokenizer, table, ["float32", "klt"], context)) as [SplitStory, SplitStory];
      const isSame = raw.ids.join() === wholeIds.join();

      let done = 0;
      progress.start("codecs at equal bytes", Object.keys(compared).length + curves.length * (curveRatios.length - 1));
      const options = { table, signal, onRow: ({ label }: PerplexityRow) => progress.update(++done, label) };
      const { results, perplexity, tokens } = await comparePerplexity(whole, splitBlock, testStories, {
        ...options, codecs: Object.keys(compared), ratios: [ratio],
      });
      const curve = await comparePerplexity(whole, splitBlock, testStories, {
        ...options, codecs: curves, ratios: curveRatios, done: results,
      });
      progress.stop();
      return describe({ isSame, raw, coded, table, results, curve: curve.results, perplexity, tokens });
    } finally {
      progress.stop();
      await source.close();
    }
  },
};

interface Findings {
  readonly isSame: boolean;
  readonly raw: SplitStory;
  readonly coded: SplitStory;
  readonly table: CodecTable;
  readonly results: readonly PerplexityRow[];
  readonly curve: readonly PerplexityRow[];
  readonly perplexity: number;
  readonly tokens: number;
}

function describe({ isSame, raw, coded, table, results, curve, perplexity, tokens }: Findings): ReportBlock[] {
  const parting = coded.ids.findIndex((id, index) => raw.ids[index] !== id);
  const points = (name: string): (readonly [number, number])[] =>
    curve.flatMap(({ codec, traffic, perplexityRise }) =>
      codec === name && traffic !== undefined ? [[traffic.byteRatioFloat16, 100 * perplexityRise!] as const] : [],
    );
  return [
    {
      kind: "paragraph",
      text:
        "stories15M, cut after its first block: the embedding and that block on one side of a WebSocket, five blocks and the head on the other. Every token goes " +
        `over as one message. Raw float32 ${isSame ? "gives the unsplit model’s story, token for token" : "DIFFERS from the unsplit model’s story, which is a defect"}.`,
    },
    {
      kind: "figures",
      figures: [
        { label: "Raw float32", value: `${raw.tokensPerSecond.toFixed(0)} tokens/s`, note: `${kilobytes(raw.traffic.activationBytes)} sent` },
        {
          label: `KLT + rANS at ${ratio} ×`, value: `${coded.tokensPerSecond.toFixed(0)} tokens/s`,
          note: `${kilobytes(coded.traffic.activationBytes)} sent, ${coded.traffic.byteRatioFloat16.toFixed(1)} × under float16 with frame headers`,
        },
        {
          label: "Same tokens as raw", value: `${parting < 0 ? coded.ids.length : parting} of ${coded.ids.length}`,
          note: "until the stories part, most likely token each time",
        },
        { label: "Round trip", value: `${coded.traffic.roundTrip.median.toFixed(1)} ms`, note: "median; the server’s blocks included" },
      ],
    },
    { kind: "quote", label: `Split, raw float32${isSame ? ": the unsplit model’s words" : ""}`, text: raw.text },
    { kind: "quote", label: `Split, KLT + rANS at ${ratio} ×`, text: coded.text },
    {
      kind: "paragraph",
      text:
        `Codecs at the same size, ${ratio} × under float16 (int8 and int4 have rates of their own), on ${tokens} tokens of stories that the model wrote itself, calibrated on others ` +
        `(${table.rows} rows); one message a story, its header counted. FC is FourierCompress’s block of low frequencies; “by elements” counts numbers instead of bytes, and a ` +
        `complex one once, as its paper may have. Without codec the perplexity is ${perplexity.toFixed(2)}; agreement is the share of next tokens that stay the same.`,
    },
    {
      kind: "table",
      columns: ["codec", "elements ×", "float16 ×", "float32 ×", "error", "perplexity", "agreement"],
      rows: results.map(tableRow),
    },
    {
      kind: "chart",
      title: "What a smaller message costs: rise of perplexity in % by bytes against float16",
      svg: lineChart(
        [
          { name: "KLT + rANS", points: points("klt"), marks: true },
          { name: "per channel + rANS", points: points("channel"), marks: true },
        ],
        { x: "times smaller than float16", y: "rise of perplexity, %" },
      ),
    },
    {
      kind: "paragraph",
      text:
        "FourierCompress (arXiv 2510.16418) reports near-lossless accuracy at 7.6 ×. That was not reproduced: with its block of low frequencies in any reading, and even with complex " +
        "numbers counted once, the model’s predictions are lost here, because channels have no order in which they are smooth. Rounding each channel, or each coefficient of a calibrated " +
        "basis, and entropy-coding what is left keeps them at the same bytes. None of this hides the text: compression is no privacy.",
    },
  ];
}
