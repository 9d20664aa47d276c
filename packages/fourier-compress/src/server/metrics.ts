import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { ErrorCode } from "../wire/control-messages.ts";

/** What the gauges show, asked for when they are read. */
export interface GaugeReadings {
  readonly connections: number;
  readonly sessions: number;
  readonly queued: number;
  readonly sessionBytes: number;
  readonly prefixBytes: number;
  readonly prefixes: number;
}

const SECONDS: readonly number[] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30];
const SIZES: readonly number[] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048];

/** What a server counts, in a registry of its own: several servers in one process do not mix. */
export class ServerMetrics {
  readonly registry: Registry = new Registry();
  readonly framesReceived: Counter;
  readonly framesSent: Counter;
  readonly bytesReceived: Counter;
  readonly bytesSent: Counter;
  /** Against which the activation messages' bytes are a ratio. */
  readonly activationRawBytes: Counter;
  readonly activationBytes: Counter;
  readonly tokens: Counter;
  readonly generatedTokens: Counter;
  readonly steps: Counter;
  readonly resumes: Counter;
  readonly repeats: Counter;
  readonly expiries: Counter;
  readonly delays: Counter;
  readonly refusals: Counter<"code">;
  readonly prefixLookups: Counter<"outcome">;
  readonly prefixTokens: Counter;
  readonly retriedSteps: Counter;
  readonly decodeSeconds: Histogram;
  readonly stepSeconds: Histogram;
  readonly waitSeconds: Histogram;
  readonly stepSessions: Histogram;
  readonly stepTokens: Histogram;

  constructor(readings: () => GaugeReadings) {
    const { registry } = this;
    const registers = [registry];
    const counter = (name: string, help: string): Counter => new Counter({ name: `fourier_compress_${name}`, help, registers });
    const histogram = (name: string, help: string, buckets: readonly number[]): Histogram =>
      new Histogram({ name: `fourier_compress_${name}`, help, buckets: [...buckets], registers });
    const gauge = (name: string, help: string, reading: keyof GaugeReadings): void => {
      const made: Gauge = new Gauge({ name: `fourier_compress_${name}`, help, registers, collect: () => made.set(readings()[reading]) });
    };
    gauge("connections", "Connections at present.", "connections");
    gauge("sessions", "Sessions at present.", "sessions");
    gauge("queued_frames", "Activation frames that wait for a step.", "queued");
    gauge("session_bytes", "Bytes of the sessions' caches and kept results.", "sessionBytes");
    gauge("prefix_bytes", "Bytes of kept prefixes.", "prefixBytes");
    gauge("prefixes", "Kept prefixes.", "prefixes");
    this.framesReceived = counter("frames_received_total", "Frames from clients.");
    this.framesSent = counter("frames_sent_total", "Frames to clients.");
    this.bytesReceived = counter("bytes_received_total", "Bytes of frames from clients.");
    this.bytesSent = counter("bytes_sent_total", "Bytes of frames to clients.");
    this.activationRawBytes = counter("activation_float16_bytes_total", "What the applied activations take in float16.");
    this.activationBytes = counter("activation_bytes_total", "What their frames took, headers included.");
    this.tokens = counter("tokens_total", "Tokens computed, those of prompts included.");
    this.generatedTokens = counter("generated_tokens_total", "Tokens chosen by the server.");
    this.steps = counter("steps_total", "Steps of the scheduler.");
    this.resumes = counter("resumes_total", "Sessions taken up again.");
    this.repeats = counter("repeated_results_total", "Results sent again for repeated activations.");
    this.expiries = counter("expired_sessions_total", "Sessions ended for lack of frames.");
    this.delays = counter("rate_limit_delays_total", "Frames that waited for their client's rate limit.");
    this.refusals = new Counter({ name: "fourier_compress_refusals_total", help: "Refusals by code.", labelNames: ["code"], registers });
    this.prefixLookups = new Counter({
      name: "fourier_compress_prefix_lookups_total", help: "Sessions that asked for kept prefixes.", labelNames: ["outcome"], registers,
    });
    this.prefixTokens = counter("prefix_tokens_total", "Tokens that kept prefixes saved.");
    this.retriedSteps = counter("retried_steps_total", "Packed steps that failed and were computed session by session.");
    this.decodeSeconds = histogram("decode_seconds", "Decoding of one activation message.", SECONDS);
    this.stepSeconds = histogram("step_seconds", "One step of the scheduler.", SECONDS);
    this.waitSeconds = histogram("wait_seconds", "From an activation's arrival to its step.", SECONDS);
    this.stepSessions = histogram("step_sessions", "Sessions in one step.", SIZES);
    this.stepTokens = histogram("step_tokens", "Tokens in one step.", SIZES);
  }

  refused(code: ErrorCode): void {
    this.refusals.inc({ code });
  }
}
