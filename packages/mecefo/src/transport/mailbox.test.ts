import { afterEach, describe, expect, it, vi } from "vitest";
import { EpochEndedError, LinkError } from "../errors.ts";
import { Mailbox } from "./mailbox.ts";
import type { MailboxOptions } from "./mailbox.ts";
import { activation } from "./transport.testing.ts";
import type { MessageTag, ReceivedMessage, Transport } from "./transport.ts";

/** A transport that only says what a test makes it say. */
class ScriptedTransport implements Transport {
  readonly address = "memory:scripted";
  readonly released: ReceivedMessage[] = [];
  deliver: (message: ReceivedMessage) => void = () => {};
  breakLink: (peer: string, cause: string) => void = () => {};
  send = (): Promise<void> => Promise.reject(new Error("only receives"));
  onMessage(listener: (message: ReceivedMessage) => void): void {
    this.deliver = listener;
  }
  onLinkFailure(listener: (peer: string, cause: string) => void): void {
    this.breakLink = listener;
  }
  release(message: ReceivedMessage): void {
    this.released.push(message);
  }
  beginEpoch(): void {}
  inject(): void {}
  statistics() {
    return { bytesSent: 0, bytesReceived: 0, messagesSent: 0, messagesReceived: 0, staleFrames: 0, refusedConnections: 0 };
  }
  close = (): Promise<void> => Promise.resolve();
}

const message = (from: string, tag: MessageTag, length = 4): ReceivedMessage => ({ from, tag, payload: new Uint8Array(length) });

let mailbox: Mailbox | undefined;
afterEach(() => mailbox?.close());

function create(options: Omit<MailboxOptions, "transport"> = {}) {
  const transport = new ScriptedTransport();
  mailbox = new Mailbox({ transport, ...options });
  mailbox.beginEpoch(1);
  return { transport, mailbox };
}

describe("Mailbox", () => {
  it("hands messages out by sender and tag, whichever comes first", async () => {
    const { transport, mailbox } = create();
    const early = message("a", activation(1, 1));
    transport.deliver(early);
    expect(mailbox.unclaimedBytes).toBe(4);
    const waiting = mailbox.receive("b", activation(1, 1));
    expect(await mailbox.receive("a", activation(1, 1))).toBe(early);
    expect(mailbox.unclaimedBytes).toBe(0);
    const late = message("b", activation(1, 1));
    transport.deliver(late);
    expect(await waiting).toBe(late);
    expect(transport.released).toEqual([]);
  });

  it("ends waits with their epoch, releases what is old, and keeps what is early", async () => {
    const { transport, mailbox } = create();
    const old = message("a", activation(1, 5));
    const early = message("a", activation(2, 0));
    transport.deliver(old);
    transport.deliver(early);
    const waiting = mailbox.receive("a", activation(1, 0));
    const ahead = mailbox.receive("a", activation(2, 1));
    mailbox.beginEpoch(2);
    await expect(waiting).rejects.toThrow(new EpochEndedError(1));
    await expect(mailbox.receive("a", activation(1, 5))).rejects.toThrow(EpochEndedError);
    expect(transport.released).toEqual([old]);
    expect(await mailbox.receive("a", activation(2, 0))).toBe(early);
    transport.deliver(message("a", activation(2, 1)));
    await ahead;
    transport.deliver(message("a", activation(1, 6)));
    expect(transport.released).toHaveLength(2);
  });

  it("fails waits for a peer whose link failed, later ones too, but not others, and not in the next epoch", async () => {
    const told: string[] = [];
    const { transport, mailbox } = create({ onLinkFailure: (peer, cause) => told.push(`${peer} ${cause}`) });
    const waiting = mailbox.receive("a", activation(1, 0));
    const other = mailbox.receive("b", activation(1, 0));
    transport.breakLink("a", "closed: gone");
    await expect(waiting).rejects.toThrow(new LinkError("a", "closed: gone"));
    await expect(mailbox.receive("a", activation(1, 1))).rejects.toThrow(LinkError);
    transport.deliver(message("b", activation(1, 0)));
    await other;
    mailbox.beginEpoch(2);
    const next = mailbox.receive("a", activation(2, 0));
    transport.deliver(message("a", activation(2, 0)));
    await next;
    expect(told).toEqual(["a closed: gone"]);
  });

  it("still hands out what came whole before the link failed", async () => {
    const { transport, mailbox } = create();
    const whole = message("a", activation(1, 0));
    transport.deliver(whole);
    transport.breakLink("a", "closed: gone");
    expect(await mailbox.receive("a", activation(1, 0))).toBe(whole);
  });

  it("bounds what nobody asks for", async () => {
    const told: string[] = [];
    const { transport, mailbox } = create({ maximumUnclaimedBytes: 10, onLinkFailure: (peer, cause) => told.push(`${peer} ${cause}`) });
    for (let i = 0; i < 3; i++) transport.deliver(message("a", activation(1, i)));
    expect(mailbox.unclaimedBytes).toBe(8);
    expect(told).toHaveLength(1);
    expect(told[0]).toMatch(/^a overflow: 8 bytes are unclaimed, and activation \(epoch 1, step 0, channel 0, sequence 2\) with 4 more/);
    await expect(mailbox.receive("a", activation(1, 2))).rejects.toThrow(LinkError);
  });

  it("takes a message that comes twice for a fault of its sender, and two receivers of one message for an error", async () => {
    const told: string[] = [];
    const { transport, mailbox } = create({ onLinkFailure: (_, cause) => told.push(cause) });
    transport.deliver(message("a", activation(1, 0)));
    transport.deliver(message("a", activation(1, 0)));
    expect(told).toEqual(["overflow: activation (epoch 1, step 0, channel 0, sequence 0) came twice"]);
    const first = mailbox.receive("b", activation(1, 0));
    await expect(mailbox.receive("b", activation(1, 0))).rejects.toThrow("two callers wait");
    transport.deliver(message("b", activation(1, 0)));
    await first;
  });

  it("gives requests to their handler, those of a later epoch when it begins", () => {
    const { transport, mailbox } = create();
    const request = (epoch: number, sequence: number) => message("a", { kind: "stateRequest", epoch, step: 0, channel: 2, sequence });
    const handled: number[] = [];
    transport.deliver(request(1, 1));
    mailbox.handle("stateRequest", ({ tag }) => handled.push(tag.sequence));
    transport.deliver(request(1, 2));
    transport.deliver(request(2, 3));
    expect(handled).toEqual([1, 2]);
    mailbox.beginEpoch(2);
    expect(handled).toEqual([1, 2, 3]);
    expect(mailbox.unclaimedBytes).toBe(0);
  });

  it("names whom it has waited for long, once", async () => {
    const told: [string, number][] = [];
    const { transport, mailbox } = create({
      longWaitMilliseconds: 20, onLongWait: (peer, tag, milliseconds) => told.push([`${peer} ${tag.kind} ${tag.sequence}`, milliseconds]),
    });
    const waiting = mailbox.receive("a", activation(1, 7));
    await vi.waitFor(() => {
      expect(told).toHaveLength(1);
    });
    expect(told[0]![0]).toBe("a activation 7");
    expect(told[0]![1]).toBeGreaterThanOrEqual(20);
    expect(mailbox.waits()).toMatchObject([{ peer: "a", tag: activation(1, 7) }]);
    await new Promise((resolve) => setTimeout(resolve, 40));
    expect(told).toHaveLength(1);
    transport.deliver(message("a", activation(1, 7)));
    await waiting;
  });

  it("frees waiters and memory when it closes", async () => {
    const { transport, mailbox } = create();
    transport.deliver(message("a", activation(1, 3)));
    const waiting = mailbox.receive("a", activation(1, 0));
    mailbox.close();
    await expect(waiting).rejects.toThrow(LinkError);
    expect(transport.released).toHaveLength(1);
    await expect(mailbox.receive("a", activation(1, 1))).rejects.toThrow("closed");
  });
});
