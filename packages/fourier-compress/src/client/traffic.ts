import { compressionRatios, type CompressionRatios } from "../codecs/compression-codec.ts";

/** What crossed the network for a client, and how long it took. */
export interface ClientTraffic extends CompressionRatios {
  /** Activation messages, each counted once however often it was sent. */
  readonly messages: number;
  /** Tokens in them. */
  readonly tokens: number;
  /** Bytes of all frames sent: activations with their headers, control frames, and frames sent again. */
  readonly bytesSent: number;
  /** Bytes of all frames received. */
  readonly bytesReceived: number;
  /** Of `bytesSent`, the activation frames, each counted once: what the byte ratios are of. */
  readonly activationBytes: number;
  /** Of `activationBytes`, the codec's messages, their own headers included: what remains are the headers of frames. */
  readonly messageBytes: number;
  /** Of `bytesSent`, activation frames that had been sent before. */
  readonly resentBytes: number;
  /** What the same activations take in float16. */
  readonly float16Bytes: number;
  /** Numbers that the codec kept of them. */
  readonly elements: number;
  /** Milliseconds from a frame to the result that answers it. */
  readonly roundTrip: {
    readonly count: number; readonly mean: number; readonly median: number; readonly last: number; readonly most: number;
  };
  /** Milliseconds in all that the codec took to encode. */
  readonly encodeMilliseconds: number;
  /** Milliseconds in all that decoding took here, of the sampled messages. */
  readonly decodeMilliseconds: number;
  /** ‖A′ - A‖ / ‖A‖ over the messages that were decoded here to see; undefined without any. */
  readonly relativeError: number | undefined;
  /** Messages behind `relativeError`. */
  readonly sampledMessages: number;
  /** Connections made, the first included. */
  readonly connections: number;
  /** Sessions taken up again after a connection broke. */
  readonly resumes: number;
  /** Sessions rebuilt because the server had lost them. */
  readonly rebuilds: number;
  /** Tokens that a server's kept prefixes spared. */
  readonly reusedTokens: number;
}

/** Round trips that the median is taken of. */
const RECENT = 1024;

/** Counts what `ClientTraffic` reports. */
export class TrafficMeter {
  messages = 0;
  tokens = 0;
  bytesSent = 0;
  bytesReceived = 0;
  activationBytes = 0;
  messageBytes = 0;
  resentBytes = 0;
  values = 0;
  elements = 0;
  encodeMilliseconds = 0;
  decodeMilliseconds = 0;
  connections = 0;
  resumes = 0;
  rebuilds = 0;
  reusedTokens = 0;
  #errorEnergy = 0;
  #energy = 0;
  #sampled = 0;
  #trips = 0;
  #tripTotal = 0;
  #tripMost = 0;
  #tripLast = 0;
  readonly #recent = new Float64Array(RECENT);

  roundTrip(milliseconds: number): void {
    this.#recent[this.#trips % RECENT] = milliseconds;
    this.#trips++;
    this.#tripTotal += milliseconds;
    this.#tripLast = milliseconds;
    this.#tripMost = Math.max(this.#tripMost, milliseconds);
  }

  /** @param error ‖A′ - A‖² @param energy ‖A‖², both of one message */
  sampledError(error: number, energy: number): void {
    this.#sampled++;
    this.#errorEnergy += error;
    this.#energy += energy;
  }

  report(): ClientTraffic {
    const recent = this.#recent.slice(0, Math.min(this.#trips, RECENT)).sort();
    const ratios = compressionRatios(this.values, { bytes: this.activationBytes, elements: this.elements });
    return {
      ...(this.messages === 0 ? { elementRatio: 1, byteRatioFloat16: 1, byteRatioFloat32: 1 } : ratios),
      messages: this.messages, tokens: this.tokens, bytesSent: this.bytesSent, bytesReceived: this.bytesReceived,
      activationBytes: this.activationBytes, messageBytes: this.messageBytes, resentBytes: this.resentBytes,
      float16Bytes: 2 * this.values, elements: this.elements,
      roundTrip: {
        count: this.#trips, mean: this.#trips === 0 ? 0 : this.#tripTotal / this.#trips, median: recent[recent.length >> 1] ?? 0,
        last: this.#tripLast, most: this.#tripMost,
      },
      encodeMilliseconds: this.encodeMilliseconds, decodeMilliseconds: this.decodeMilliseconds,
      relativeError: this.#sampled === 0 ? undefined : Math.sqrt(this.#errorEnergy / (this.#energy || 1)),
      sampledMessages: this.#sampled, connections: this.connections, resumes: this.resumes, rebuilds: this.rebuilds,
      reusedTokens: this.reusedTokens,
    };
  }
}
