import { SplitClient, webSocketTransport, type ClientEvent, type ClientTraffic } from "@frugal/fourier-compress";
import { namedCodec, type CodecChoice } from "./codec-choices.ts";
import type { DeviceHalf } from "./device-half.ts";

/** What to write, and how. */
export interface StorySettings {
  readonly prompt: string;
  readonly codec: CodecChoice;
  readonly ratio: number;
  readonly temperature: number;
  readonly maxNewTokens: number;
}

/** Who watches a story being written. */
export interface StoryObserver {
  /** A piece of text, as soon as its characters are whole. */
  text(piece: string): void;
  traffic(traffic: ClientTraffic, tokensPerSecond: number): void;
  event(event: ClientEvent): void;
}

/** A story as it came out. */
export interface WrittenStory {
  readonly tokenIds: readonly number[];
  readonly traffic: ClientTraffic;
  readonly tokensPerSecond: number;
}

/** Every so many messages one is decoded in the page, to see what the codec loses. */
const ERROR_SAMPLING = 4;
/** Milliseconds before a broken connection is made anew: long enough to be seen. */
const RECONNECT_DELAY = 600;
const SEED = 7;

/** Writes stories with the page's half of the model, over a connection that can be cut. */
export class StoryWriter {
  readonly #half: DeviceHalf;
  #socket: WebSocket | undefined;
  #stopping: AbortController | undefined;

  constructor(half: DeviceHalf) {
    this.#half = half;
  }

  /** Cuts the connection, as a network would. Whether there was one. */
  cut(): boolean {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.close(4000, "cut by hand");
    return true;
  }

  /** Ends the story that is being written. */
  stop(): void {
    this.#stopping?.abort();
  }

  /** Writes one story. @throws the errors of `SplitClient.connect` and `SplitClient.generate` */
  async write({ prompt, codec, ratio, temperature, maxNewTokens }: StorySettings, observer: StoryObserver): Promise<WrittenStory> {
    const { settings, model, tokenizer, table } = this.#half;
    const url = new URL(settings.socketPath, location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const { signal } = (this.#stopping = new AbortController());
    using client = await SplitClient.connect({
      transport: webSocketTransport(url, { createSocket: (address, protocols) => (this.#socket = new WebSocket(address, protocols)) }),
      model, splitBlock: settings.splitBlock, codec: namedCodec(codec, ratio), result: "token", errorSampling: ERROR_SAMPLING,
      // Even raw codecs take begin rows from a table, which differ in the last bits; float32 is to be exact.
      ...(codec.name === "float32" ? {} : { table }),
      reconnect: { initialDelay: RECONNECT_DELAY }, name: "split-chat page", onEvent: (event) => observer.event(event),
    });
    const decoder = tokenizer.streamDecoder({ continuation: true });
    const tokenIds: number[] = [];
    let started = 0;
    const speed = (): number => (tokenIds.length < 2 ? 0 : ((tokenIds.length - 1) * 1000) / (performance.now() - started));
    const options = { temperature, seed: SEED, maxNewTokens, stopTokenIds: settings.stopTokenIds, signal };
    for await (const { id } of client.generate(tokenizer.encode(prompt), options)) {
      // The prompt's time is not the tokens'.
      if (tokenIds.length === 0) started = performance.now();
      tokenIds.push(id);
      const piece = decoder.push(id);
      if (piece !== "") observer.text(piece);
      observer.traffic(client.traffic(), speed());
    }
    const tokensPerSecond = speed();
    const rest = decoder.end();
    if (rest !== "") observer.text(rest);
    const traffic = client.traffic();
    observer.traffic(traffic, tokensPerSecond);
    return { tokenIds, traffic, tokensPerSecond };
  }
}
