/**
 * Linear regression three ways: by gradient descent, by the normal equations, and by the singular value decomposition. Run: node
 * examples/linear-regression.ts
 */
import {
  Generator,
  Parameter,
  Sgd,
  concatenate,
  meanSquaredError,
  memory,
  ones,
  tensor,
  tidy,
  valueAndGrad,
  type Tensor,
} from "@frugal/tensor-core";
import { leastSquares, solve } from "@frugal/tensor-core/linalg";

// y = 1.5 x₁ - 2 x₂ + 0.5 x₃ + 4, with a little noise.
const random = new Generator(42);
const inputs: Tensor = random.normal([500, 3]);
const noise: Tensor = random.normal([500, 1], 0, 0.1);
const targets: Tensor = tidy(() =>
  inputs
    .matmul(tensor([[1.5], [-2], [0.5]]))
    .add(4)
    .add(noise),
);

const weight = new Parameter(random.normal([3, 1]));
const bias = new Parameter(ones([1]));
const optimizer = new Sgd([weight, bias], { learningRate: 0.1, momentum: 0.9 });
for (let epoch = 0; epoch < 100; epoch++) {
  const loss = tidy(() => {
    const [value, gradients] = valueAndGrad(() => meanSquaredError(inputs.matmul(weight).add(bias), targets))(optimizer.parameters);
    optimizer.step(gradients);
    return value;
  });
  if (epoch % 20 === 0) console.log(`epoch ${String(epoch).padStart(3)}: mean squared error ${(await loss.item()).toFixed(5)}`);
  loss.dispose();
}
const show = (values: ArrayLike<number>): string => Array.from(values, (value) => value.toFixed(3)).join(", ");
console.log(`gradient descent:  ${show(await weight.data())}, ${show(await bias.data())}`);

// A column of ones makes the bias one more weight.
const design = tidy(() => concatenate([inputs, ones([500, 1]) as Tensor], 1));
const [gram, moments] = tidy(() => [design.transpose().matmul(design), design.transpose().matmul(targets)] as const);
const normal = await solve(gram, moments);
console.log(`normal equations:  ${show(await normal.data())}`);
const best = await leastSquares(design, targets);
console.log(`least squares:     ${show(await best.data())}`);

for (const each of [inputs, noise, targets, weight, bias, design, gram, moments, normal, best]) each.dispose();
optimizer.dispose();
console.log(`tensors left: ${memory().allocations}`);
