import { Socket } from "node:net";
import { FrameError } from "../errors.ts";
import type { BufferPool } from "./buffer-pool.ts";
import { FrameReader } from "./frame-reader.ts";
import type { FrameListener } from "./frame-reader.ts";
import { encodeControlFrame } from "./frame.ts";
import { createNonce, encodeHello, maximumHandshakeBytes, parseChallenge, proofOf, sameProof } from "./handshake.ts";
import type { Hello } from "./handshake.ts";
import { linkFailureCause } from "./link-failure.ts";
import { parseAddress } from "./listen-address.ts";
import type { SocketAddress } from "./listen-address.ts";
import type { Peer } from "./transport.ts";

/** What dialling needs to know. */
export interface DialOptions {
  readonly id: string;
  readonly token: string;
  readonly epoch: number;
  readonly pool: BufferPool;
  readonly maximumPayloadBytes: number;
  /** All attempts together. */
  readonly timeoutMilliseconds: number;
  readonly onFrame: FrameListener;
  /** The connection is over, or could not be made: once, with the cause as link failures tell it. Not called after `destroy`. */
  readonly onEnd: (cause: string) => void;
}

const FIRST_PAUSE = 10;
const LONGEST_PAUSE = 200;

/** A connection that this worker dialled: it reads what the peer sends. Attempts are repeated until one succeeds or the time is over. */
export class DialledConnection {
  readonly #peer: Peer;
  readonly #options: DialOptions;
  readonly #deadline: number;
  #socket: Socket | undefined;
  #reader: FrameReader | undefined;
  #retry: NodeJS.Timeout | undefined;
  #limit: NodeJS.Timeout | undefined;
  #pause = FIRST_PAUSE;
  #welcomed = false;
  #ended = false;
  #paused = false;

  constructor(peer: Peer, options: DialOptions) {
    this.#peer = peer;
    this.#options = options;
    this.#deadline = performance.now() + options.timeoutMilliseconds;
    this.#attempt();
  }

  /** Rests from reading, or goes on. */
  setPaused(paused: boolean): void {
    this.#paused = paused;
    if (!paused) this.#socket?.resume();
  }

  destroy(): void {
    this.#ended = true;
    clearTimeout(this.#retry);
    clearTimeout(this.#limit);
    this.#socket?.destroy();
    this.#reader?.dispose();
  }

  #end(cause: string): void {
    if (this.#ended) return;
    this.destroy();
    this.#options.onEnd(cause);
  }

  #attempt(): void {
    let address: SocketAddress;
    try {
      address = parseAddress(this.#peer.address);
    } catch (error) {
      // Whoever made this connection has yet to keep it before it can end.
      queueMicrotask(() => {
        this.#end(linkFailureCause("unreachable", (error as Error).message));
      });
      return;
    }
    const { id, token, epoch, pool, maximumPayloadBytes } = this.#options;
    const hello: Hello = { from: id, to: this.#peer.id, epoch, nonce: createNonce() };
    const reader = new FrameReader(pool, maximumHandshakeBytes, (header, payload) => {
      if (this.#welcomed) {
        this.#options.onFrame(header, payload);
        return;
      }
      if (header.kind === "challenge") {
        const challenge = parseChallenge(payload);
        if (!sameProof(proofOf(token, "listener", hello, challenge.nonce), challenge.proof)) {
          this.#end(linkFailureCause("refused", `whoever listens at ${this.#peer.address} has another token`));
          return;
        }
        socket.write(encodeControlFrame("proof", epoch, proofOf(token, "dialler", hello, challenge.nonce)));
      } else if (header.kind === "welcome") {
        this.#welcomed = true;
        clearTimeout(this.#limit);
        reader.maximumPayloadBytes = maximumPayloadBytes;
      } else if (header.kind === "refusal") {
        this.#end(linkFailureCause("refused", Buffer.from(payload).toString("utf8")));
      } else {
        throw new FrameError(`${header.kind} frame in place of a handshake`);
      }
      pool.give(payload.buffer);
    });
    this.#reader = reader;
    const socket = new Socket({
      onread: {
        buffer: () => reader.nextBuffer(),
        callback: (bytes) => {
          try {
            reader.advance(bytes);
          } catch (error) {
            this.#end(linkFailureCause("corruption", (error as Error).message));
          }
          return !this.#paused;
        },
      },
    });
    this.#socket = socket;
    clearTimeout(this.#limit);
    this.#limit = setTimeout(() => {
      this.#end(this.#unreachable("no answer"));
    }, Math.max(1, this.#deadline - performance.now()));
    let problem: string | undefined;
    socket.on("error", (error) => {
      problem = error.message;
    });
    socket.on("close", () => {
      if (this.#ended || this.#socket !== socket) return;
      if (this.#welcomed) {
        const where = reader.midFrame ? "in the middle of a frame" : "the peer closed the connection";
        this.#end(linkFailureCause("closed", problem === undefined ? where : `${where} (${problem})`));
      } else this.#tryAgain(problem ?? "closed before the handshake was over");
    });
    if ("path" in address) socket.connect(address.path);
    else socket.setNoDelay(true).connect(address.port, address.host);
    socket.write(encodeControlFrame("hello", epoch, encodeHello(hello)));
  }

  #tryAgain(problem: string): void {
    if (performance.now() + this.#pause >= this.#deadline) {
      this.#end(this.#unreachable(problem));
      return;
    }
    this.#retry = setTimeout(() => {
      this.#attempt();
    }, this.#pause);
    this.#pause = Math.min(LONGEST_PAUSE, this.#pause * 2);
  }

  #unreachable(problem: string): string {
    const { timeoutMilliseconds } = this.#options;
    return linkFailureCause("unreachable", `no connection to ${this.#peer.address} within ${timeoutMilliseconds} ms: ${problem}`);
  }
}
