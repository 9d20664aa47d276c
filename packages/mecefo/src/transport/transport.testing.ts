import { randomUUID } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Mailbox } from "./mailbox.ts";
import type { MessageTag, Peer, ReceivedMessage, Transport } from "./transport.ts";

/** A worker's communication in a test. */
export interface TestNode {
  readonly peer: Peer;
  readonly transport: Transport;
  readonly mailbox: Mailbox;
  /** "peer: cause" of every link failure. */
  readonly failures: string[];
  beginEpoch(epoch: number, peers: readonly TestNode[]): void;
  send(to: TestNode, tag: MessageTag, payload: Uint8Array): Promise<void>;
  receive(from: TestNode, tag: MessageTag): Promise<ReceivedMessage>;
  close(): Promise<void>;
}

/** Puts a mailbox on a transport. */
export function testNode(id: string, transport: Transport): TestNode {
  const failures: string[] = [];
  const mailbox = new Mailbox({ transport, onLinkFailure: (peer, cause) => failures.push(`${peer}: ${cause}`) });
  return {
    peer: { id, address: transport.address },
    transport, mailbox, failures,
    beginEpoch(epoch, peers) {
      mailbox.beginEpoch(epoch);
      transport.beginEpoch(epoch, peers.map(({ peer }) => peer));
    },
    send: (to, tag, payload) => transport.send(to.peer, tag, payload),
    receive: (from, tag) => mailbox.receive(from.peer.id, tag),
    async close() {
      mailbox.close();
      await transport.close();
    },
  };
}

/** An activation's tag. */
export function activation(epoch: number, sequence: number): MessageTag {
  return { kind: "activation", epoch, step: 0, channel: 0, sequence };
}

/** A Unix socket's address that nobody else uses. */
export function freshUnixAddress(): string {
  return `unix:${join(tmpdir(), `mecefo-${randomUUID().slice(0, 13)}.sock`)}`;
}

/** Waits for a condition, 10 s at most. */
export async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`never came true: ${condition.toString()}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
