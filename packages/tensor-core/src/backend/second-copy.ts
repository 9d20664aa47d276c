const loaded = Symbol.for("@frugal/tensor-core");

/**
 * Tensors of one copy of this package are strangers to another: a tape does not see what the other computes, and gradients come out
 * wrong. A dependency tree with two versions is the usual cause. Reloading a module in development loads a copy too, so this warns
 * instead of failing.
 */
export function warnOfSecondCopy(url: string): void {
  const copies = ((globalThis as { [loaded]?: Set<string> })[loaded] ??= new Set());
  copies.add(url);
  if (copies.size > 1) {
    const list = [...copies].join("\n  ");
    // oxlint-disable-next-line no-console -- no error can be thrown where a reload may be the reason, and silence would be worse
    console.warn(
      `@frugal/tensor-core is loaded ${copies.size} times; gradients are wrong where their tensors meet. Install one version:\n  ${list}`,
    );
  }
}
