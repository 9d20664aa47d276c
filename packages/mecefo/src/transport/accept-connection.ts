import type { Socket } from "node:net";
import { FrameError } from "../errors.ts";
import { BufferPool } from "./buffer-pool.ts";
import { FrameReader } from "./frame-reader.ts";
import { encodeControlFrame } from "./frame.ts";
import { createNonce, encodeChallenge, maximumHandshakeBytes, parseHello, proofOf, sameProof } from "./handshake.ts";
import type { Hello } from "./handshake.ts";

/** What the listening side of a handshake knows. */
export interface AcceptOptions {
  readonly id: string;
  readonly token: string;
  readonly timeoutMilliseconds: number;
  /** Why this worker is turned away, if it is. Asked after its proof was found right. */
  readonly objection: (hello: Hello) => string | undefined;
  /** A proven worker, welcomed. The socket is the listener's from now on; it has no listeners but one for errors. */
  readonly onWelcome: (hello: Hello, socket: Socket) => void;
  /** The connection was turned away, and is closed. */
  readonly onRefusal: (reason: string) => void;
}

/** Leads the listening side through a handshake (handshake.ts). */
export function acceptConnection(socket: Socket, options: AcceptOptions): void {
  let hello: Hello | undefined;
  let expected: Uint8Array | undefined;
  let done = false;
  const deadline = setTimeout(() => {
    refuse(`no handshake within ${options.timeoutMilliseconds} ms`);
  }, options.timeoutMilliseconds);
  const finish = (): void => {
    done = true;
    clearTimeout(deadline);
    socket.removeAllListeners("data").removeAllListeners("close");
    reader.dispose();
  };
  const refuse = (reason: string): void => {
    if (done) return;
    finish();
    socket.end(encodeControlFrame("refusal", 0, Buffer.from(reason).subarray(0, maximumHandshakeBytes)));
    // A stranger that does not close its side is not waited for.
    setTimeout(() => socket.destroy(), 200).unref();
    options.onRefusal(reason);
  };
  const reader = new FrameReader(new BufferPool(0), maximumHandshakeBytes, (header, payload) => {
    if (header.kind === "hello" && hello === undefined) {
      hello = parseHello(payload, header.epoch);
      if (hello.to !== options.id) {
        refuse(`${hello.to} is not here; this is ${options.id}`);
        return;
      }
      const nonce = createNonce();
      expected = proofOf(options.token, "dialler", hello, nonce);
      socket.write(encodeControlFrame("challenge", 0, encodeChallenge({ nonce, proof: proofOf(options.token, "listener", hello, nonce) })));
    } else if (header.kind === "proof" && hello !== undefined && expected !== undefined) {
      if (!sameProof(expected, payload)) {
        refuse("the tokens differ");
        return;
      }
      const objection = options.objection(hello);
      if (objection !== undefined) {
        refuse(objection);
        return;
      }
      finish();
      socket.write(encodeControlFrame("welcome", 0));
      options.onWelcome(hello, socket);
    } else {
      throw new FrameError(`${header.kind} frame in place of a handshake`);
    }
  }, 2 * maximumHandshakeBytes);
  socket.on("error", () => {}); // "close" follows
  socket.on("close", () => {
    if (done) return;
    finish();
    options.onRefusal("closed before its handshake was over");
  });
  socket.on("data", (chunk) => {
    try {
      reader.push(chunk);
    } catch (error) {
      refuse((error as Error).message);
    }
  });
}
