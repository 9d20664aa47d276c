import { parseArgs } from "node:util";

/** The command line of `bench` and `verify`. */
export interface Options {
  readonly package: string;
  readonly json: boolean;
  /** Workloads or checks whose id matches. */
  readonly only: RegExp;
  /** Short and rough: whether everything works. */
  readonly quick: boolean;
  /** Rewrite the table in BENCHMARKS.md. */
  readonly write: boolean;
  /** Include peers that take minutes. */
  readonly slow: boolean;
}

/** Reads the arguments; exits with a message for unknown ones. */
export function readArguments(packages: readonly string[]): Options {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        json: { type: "boolean", default: false },
        only: { type: "string", default: "" },
        quick: { type: "boolean", default: false },
        write: { type: "boolean", default: false },
        slow: { type: "boolean", default: false },
      },
    });
    const name = positionals[0];
    if (positionals.length !== 1 || name === undefined || !packages.includes(name))
      throw new Error(`name one package: ${packages.join(", ")}`);
    if (values.write && (values.quick || values.only !== ""))
      throw new Error("--write publishes a whole, careful run: leave out --quick and --only");
    return { ...values, package: name, only: new RegExp(values.only) };
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    console.error("options: --json, --only=<regular expression>, --quick, --slow, --write (bench only)");
    process.exit(2);
  }
}
