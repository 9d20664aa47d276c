import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { FrameError } from "../errors.ts";

/**
 * How two workers make sure of each other before the first message. C dials S:
 *
 * 1. C → S `hello`: C's id, the id of whom it wants, C's epoch (in the header), a nonce
 * 2. S → C `challenge`: another nonce, and S's proof
 * 3. C → S `proof`: C's proof
 * 4. S → C `welcome`, or `refusal` with the reason at any time
 *
 * A proof is the HMAC-SHA256, keyed with the job's token, of the prover's role, both nonces, both ids and C's epoch. Neither side can reuse
 * the other's (roles differ) or an old one (nonces differ). The bytes after the handshake are not encrypted: across untrusted networks, run
 * the workers in a private one.
 */
export interface Hello {
  /** Who dials. */
  readonly from: string;
  /** Whom it wants. */
  readonly to: string;
  readonly epoch: number;
  readonly nonce: Uint8Array;
}

/** The payload of a `challenge`. */
export interface Challenge {
  readonly nonce: Uint8Array;
  readonly proof: Uint8Array;
}

/** Payloads of the handshake are no longer than this. */
export const maximumHandshakeBytes = 512;

const NONCE_BYTES = 32;
const PROOF_BYTES = 32;
const identity = /^[A-Za-z0-9_-]{1,64}$/;

/** Random bytes that make a handshake unlike any before. */
export function createNonce(): Uint8Array {
  return randomBytes(NONCE_BYTES);
}

/** The payload of a `hello`; the epoch goes into the header. */
export function encodeHello({ from, to, nonce }: Hello): Uint8Array {
  return Buffer.concat([nonce, Buffer.from(`${from} ${to}`, "latin1")]);
}

/** @throws FrameError */
export function parseHello(payload: Uint8Array, epoch: number): Hello {
  const ids = Buffer.from(payload.subarray(NONCE_BYTES)).toString("latin1").split(" ");
  const [from, to] = ids;
  if (ids.length !== 2 || from === undefined || to === undefined || !identity.test(from) || !identity.test(to)) {
    throw new FrameError(`hello of ${payload.byteLength} bytes without two member ids`);
  }
  return { from, to, epoch, nonce: payload.slice(0, NONCE_BYTES) };
}

/** The payload of a `challenge`. */
export function encodeChallenge({ nonce, proof }: Challenge): Uint8Array {
  return Buffer.concat([nonce, proof]);
}

/** @throws FrameError */
export function parseChallenge(payload: Uint8Array): Challenge {
  if (payload.byteLength !== NONCE_BYTES + PROOF_BYTES) throw new FrameError(`challenge of ${payload.byteLength} bytes`);
  return { nonce: payload.slice(0, NONCE_BYTES), proof: payload.slice(NONCE_BYTES) };
}

/** The proof that the dialling or the listening side knows the token. */
export function proofOf(token: string, role: "dialler" | "listener", hello: Hello, nonce: Uint8Array): Uint8Array {
  return createHmac("sha256", token)
    .update(`mecefo 1 ${role} ${hello.from} ${hello.to} ${hello.epoch} `)
    .update(hello.nonce).update(nonce).digest();
}

/** Compares proofs in constant time. */
export function sameProof(expected: Uint8Array, actual: Uint8Array): boolean {
  return expected.byteLength === actual.byteLength && timingSafeEqual(expected, actual);
}
