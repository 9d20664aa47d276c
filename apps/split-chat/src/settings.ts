/** What the server tells the page before anything else, as JSON at `SETTINGS_PATH`. */
export interface SplitChatSettings {
  readonly model: {
    readonly name: string;
    /** Where its weights are, in the llama2.c layout, served by range. */
    readonly path: string;
    readonly bytes: number;
  };
  /** The page runs the blocks before it. */
  readonly splitBlock: number;
  /** Tokens that end a story. */
  readonly stopTokenIds: readonly number[];
  /** Where the two files of the codec table are. */
  readonly table: { readonly json: string; readonly safetensors: string };
  /** Where the split server takes WebSockets. */
  readonly socketPath: string;
}

export const SETTINGS_PATH = "/settings.json";
