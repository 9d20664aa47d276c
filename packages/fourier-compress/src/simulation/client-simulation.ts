import { foldIn, randomKey, randomWord } from "@frugal/tensor-core";
import { SettingsError } from "../errors.ts";
import { EventQueue } from "./event-queue.ts";
import { SharedLink, type LinkSharing } from "./shared-link.ts";

/** Clients, a link and accelerators. Closed loop: a client asks, waits for the answer, thinks, and asks again. */
export interface ClientSimulationSettings {
  readonly clients: number;
  /** Of the link that all requests share. */
  readonly linkBitsPerSecond: number;
  /** Default "fifo". */
  readonly linkSharing?: LinkSharing;
  /** One way; there and back are on every response. Default 0. */
  readonly propagationSeconds?: number;
  /** Tokens of a request: always as many, or one of these, each as likely. */
  readonly tokens: number | readonly number[];
  readonly hiddenSize: number;
  /** Of an activation before compression: 2 for float16, 4 for float32. */
  readonly bytesPerValue: number;
  /** Bytes before compression over bytes after. 1: none. */
  readonly ratio: number;
  /** Headers of a request, not compressed. Default 0. */
  readonly overheadBytes?: number;
  /** Embedding, first blocks and encoder on the client's own device. Default 0. */
  readonly deviceSeconds?: number;
  readonly accelerators: number;
  /** An accelerator works this long on any batch, … Default 0. */
  readonly batchSeconds?: number;
  /** … and this long for each request in it. */
  readonly requestSeconds: number;
  /** Most requests that an accelerator takes at once. Default 1. */
  readonly largestBatch?: number;
  /** Mean of the exponentially distributed pause between an answer and the next request. */
  readonly thinkSeconds: number;
  /** Any safe integer; the same seed gives the same requests. Default 1. */
  readonly seed?: number;
  /** Requests that are measured. Default 5 a client, 2,000 at the least. */
  readonly requests?: number;
  /** Requests before that, which are not. Default 3 a client, 500 at the least. */
  readonly warmUpRequests?: number;
}

/** What clients saw, and how busy link and accelerators were. */
export interface ClientSimulationResult {
  readonly clients: number;
  readonly requests: number;
  readonly meanSeconds: number;
  readonly medianSeconds: number;
  readonly percentile95Seconds: number;
  readonly requestsPerSecond: number;
  /** Shares of the time. */
  readonly linkUtilization: number;
  readonly acceleratorUtilization: number;
}

/** Bounds that hold for a closed loop whatever is random in it (operational analysis). */
export interface ClosedLoopBounds {
  /** Response of a client alone, at the mean number of tokens. */
  readonly aloneSeconds: number;
  /** Requests a second that the link, and all accelerators together, can carry. */
  readonly linkRequestsPerSecond: number;
  readonly acceleratorRequestsPerSecond: number;
  /** The number of clients from which on a resource is always busy: beyond it the response grows with every client. */
  readonly saturationClients: number;
  /** What saturates. */
  readonly bottleneck: "link" | "accelerators";
}

const LIMITS = { clients: 1_000_000, requests: 10_000_000, accelerators: 100_000, tokens: 10_000_000 } as const;

function check(settings: ClientSimulationSettings): void {
  const fail = (name: string, value: unknown, use: string): never => {
    throw new SettingsError(`simulation: ${name} ${String(value)}; use ${use}`);
  };
  const integer = (name: string, value: number, greatest: number): void => {
    if (!Number.isInteger(value) || value < 1 || value > greatest) fail(name, value, `an integer from 1 to ${greatest}`);
  };
  const number = (name: string, value: number, isAllowed: boolean, use: string): void => {
    if (!(isAllowed && Number.isFinite(value))) fail(name, value, use);
  };
  integer("clients", settings.clients, LIMITS.clients);
  integer("accelerators", settings.accelerators, LIMITS.accelerators);
  integer("largestBatch", settings.largestBatch ?? 1, LIMITS.requests);
  integer("requests", settings.requests ?? 2, LIMITS.requests);
  if (settings.requests === 1) fail("requests", 1, "2 or more");
  integer("hiddenSize", settings.hiddenSize, LIMITS.tokens);
  const tokens = typeof settings.tokens === "number" ? [settings.tokens] : settings.tokens;
  if (tokens.length === 0) fail("tokens", "[]", "at least one number");
  for (const count of tokens) integer("tokens", count, LIMITS.tokens);
  for (const name of ["linkBitsPerSecond", "bytesPerValue", "ratio"] as const) {
    number(name, settings[name], settings[name] > 0, "a finite number > 0");
  }
  for (const name of ["propagationSeconds", "overheadBytes", "deviceSeconds", "batchSeconds", "requestSeconds", "thinkSeconds"] as const) {
    number(name, settings[name] ?? 0, (settings[name] ?? 0) >= 0, "a finite number >= 0");
  }
  if ((settings.batchSeconds ?? 0) + settings.requestSeconds === 0) fail("requestSeconds", 0, "a number > 0 here or as batchSeconds");
  const warmUp = settings.warmUpRequests ?? 0;
  if (!Number.isInteger(warmUp) || warmUp < 0 || warmUp > LIMITS.requests) {
    fail("warmUpRequests", warmUp, `an integer from 0 to ${LIMITS.requests}`);
  }
  if (settings.linkSharing !== undefined && settings.linkSharing !== "fifo" && settings.linkSharing !== "fair") {
    fail("linkSharing", settings.linkSharing, "fifo or fair");
  }
}

function requestBits({ hiddenSize, bytesPerValue, ratio, overheadBytes = 0 }: ClientSimulationSettings, tokens: number): number {
  return 8 * ((tokens * hiddenSize * bytesPerValue) / ratio + overheadBytes);
}

/** What the settings bound before anything is simulated. @throws SettingsError */
export function closedLoopBounds(settings: ClientSimulationSettings): ClosedLoopBounds {
  check(settings);
  const { propagationSeconds = 0, deviceSeconds = 0, batchSeconds = 0, requestSeconds, largestBatch = 1, accelerators } = settings;
  const drawn = typeof settings.tokens === "number" ? [settings.tokens] : settings.tokens;
  const tokens = drawn.reduce((sum, count) => sum + count, 0) / drawn.length;
  const transferSeconds = requestBits(settings, tokens) / settings.linkBitsPerSecond;
  const aloneSeconds = deviceSeconds + 2 * propagationSeconds + transferSeconds + batchSeconds + requestSeconds;
  const linkRequestsPerSecond = 1 / transferSeconds;
  const acceleratorRequestsPerSecond = (accelerators * largestBatch) / (batchSeconds + largestBatch * requestSeconds);
  const most = Math.min(linkRequestsPerSecond, acceleratorRequestsPerSecond);
  return {
    aloneSeconds, linkRequestsPerSecond, acceleratorRequestsPerSecond,
    saturationClients: (settings.thinkSeconds + aloneSeconds) * most,
    bottleneck: linkRequestsPerSecond < acceleratorRequestsPerSecond ? "link" : "accelerators",
  };
}

interface Request {
  readonly client: number;
  readonly asked: number;
}

type TimedEvent =
  | { readonly kind: "ask" | "send" | "arrive" | "answer"; readonly request: Request }
  | { readonly kind: "served"; readonly batch: readonly Request[] };

/**
 * Event by event: think, the device's part, the link, the accelerators' queue in batches, the answer (which is small and takes
 * no link time).
 * @throws SettingsError for settings out of range
 */
export function simulateClients(settings: ClientSimulationSettings): ClientSimulationResult {
  check(settings);
  const {
    clients, propagationSeconds = 0, deviceSeconds = 0, batchSeconds = 0, requestSeconds, largestBatch = 1, accelerators, thinkSeconds,
    seed = 1, requests = Math.max(2000, 5 * clients), warmUpRequests = Math.max(500, 3 * clients),
  } = settings;
  const key = randomKey(seed);
  const [thinkKey, tokensKey] = [foldIn(key, 1), foldIn(key, 2)];
  let draws = 0;
  /** Exponential; 2^-33 keeps the logarithm finite. */
  const think = (): number => -thinkSeconds * Math.log((randomWord(thinkKey, draws++) + 0.5) / 2 ** 32);
  let sizes = 0;
  const drawBits = (): number => {
    const { tokens } = settings;
    if (typeof tokens === "number") return requestBits(settings, tokens);
    return requestBits(settings, tokens[Math.floor((randomWord(tokensKey, sizes++) / 2 ** 32) * tokens.length)]!);
  };

  const events = new EventQueue<TimedEvent>();
  const link = new SharedLink<Request>(settings.linkBitsPerSecond, settings.linkSharing ?? "fifo");
  const queue: Request[] = [];
  let queueHead = 0;
  let idle = accelerators;
  let busySeconds = 0;
  const times = new Float64Array(requests);
  let answered = 0;
  let [measuredFrom, linkBusyBefore, busyBefore] = [0, 0, 0];
  let now = 0;

  const serve = (): void => {
    while (idle > 0 && queueHead < queue.length) {
      const batch = queue.slice(queueHead, queueHead + largestBatch);
      queueHead += batch.length;
      if (queueHead > 4096 && 2 * queueHead > queue.length) {
        queue.splice(0, queueHead);
        queueHead = 0;
      }
      idle--;
      const seconds = batchSeconds + batch.length * requestSeconds;
      busySeconds += seconds;
      events.add(now + seconds, { kind: "served", batch });
    }
  };

  for (let client = 0; client < clients; client++) events.add(think(), { kind: "ask", request: { client, asked: 0 } });
  while (answered < warmUpRequests + requests) {
    const arrival = link.nextArrival;
    if (arrival <= events.nextTime) {
      now = arrival;
      events.add(now + propagationSeconds, { kind: "arrive", request: link.receive(now)! });
      continue;
    }
    now = events.nextTime;
    const event = events.take()!;
    switch (event.kind) {
      case "ask":
        events.add(now + deviceSeconds, { kind: "send", request: { client: event.request.client, asked: now } });
        break;
      case "send":
        link.send(now, drawBits(), event.request);
        break;
      case "arrive":
        queue.push(event.request);
        serve();
        break;
      case "served":
        idle++;
        for (const request of event.batch) events.add(now + propagationSeconds, { kind: "answer", request });
        serve();
        break;
      case "answer": {
        if (answered === warmUpRequests) {
          link.advance(now);
          [measuredFrom, linkBusyBefore, busyBefore] = [now, link.busySeconds, busySeconds];
        }
        if (answered >= warmUpRequests) times[answered - warmUpRequests] = now - event.request.asked;
        answered++;
        events.add(now + think(), { kind: "ask", request: event.request });
        break;
      }
    }
  }
  link.advance(now);
  const seconds = now - measuredFrom;
  const mean = times.reduce((sum, time) => sum + time, 0) / requests;
  times.sort();
  return {
    clients, requests, meanSeconds: mean, medianSeconds: times[Math.floor((requests - 1) / 2)]!,
    percentile95Seconds: times[Math.ceil(0.95 * requests) - 1]!,
    requestsPerSecond: (requests - 1) / seconds,
    linkUtilization: (link.busySeconds - linkBusyBefore) / seconds,
    acceleratorUtilization: Math.min(1, (busySeconds - busyBefore) / (accelerators * seconds)),
  };
}
