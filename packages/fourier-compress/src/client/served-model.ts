import type { StagedModel } from "@frugal/language-model";
import { RemoteError, SettingsError } from "../errors.ts";
import type { ControlMessages } from "../wire/control-messages.ts";

/** @throws RemoteError SettingsError when the server does not serve what the client needs */
export function checkServed(
  { model: served, splitBlocks: [least, most], codecs, tables }: ControlMessages["welcome"],
  { model, fingerprint, splitBlock, codec, table }: {
    readonly model: StagedModel; readonly fingerprint: string; readonly splitBlock: number; readonly codec: string;
    readonly table: string | undefined;
  },
): void {
  const short = (hash: string): string => `${hash.slice(0, 12)}…`;
  if (served.fingerprint !== fingerprint) {
    const its = `${served.name} (${short(served.fingerprint)})`;
    throw new RemoteError("unknown-model", `it serves ${its}, this model is ${short(fingerprint)}`);
  }
  const { hiddenSize, vocabularySize, blockCount } = model;
  if (served.hiddenSize !== hiddenSize || served.vocabularySize !== vocabularySize || served.blockCount !== blockCount) {
    throw new RemoteError("unknown-model", `its ${served.name} has other sizes than the model here`);
  }
  if (splitBlock < least || splitBlock > most) throw new SettingsError(`splitBlock ${splitBlock}; the server takes ${least} to ${most}`);
  if (!codecs.includes(codec)) throw new SettingsError(`codec ${codec}; the server takes ${codecs.join(", ")}`);
  if (table === undefined) return;
  const held = tables.find(({ hash }) => hash === table);
  if (held === undefined) {
    const detail = tables.length === 0 ? "holds none" : `holds ${tables.map(({ hash }) => short(hash)).join(", ")}`;
    throw new SettingsError(`codec table ${short(table)}; the server ${detail}`);
  }
  if (held.block !== splitBlock) {
    throw new SettingsError(`the server's codec table ${short(table)} is of block ${held.block}, not ${splitBlock}`);
  }
}
