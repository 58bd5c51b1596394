"""Where the paper leaves a choice, and what is expected of ours."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """Something that the paper leaves open, and what is done here: a row of docs/what-the-paper-leaves-open.md."""

    left_open: str
    here: str
    effect: str
    task: str  # or both


CHOICES = (
    Choice(
        "the last, shorter batch of an epoch",
        "no short batch: each epoch is a new permutation; the epochs are joined and cut into full batches, as Caffe's "
        "reader did; update 64,000 is at epoch 163.84",
        "none known",
        "both",
    ),
    Choice(
        "the pixels' scale",
        "1/255, mean subtracted per pixel, then pad 4: the padding is the mean",
        "none: BN follows the first convolution",
        "cifar10",
    ),
    Choice(
        "fan-in or fan-out in He's initialisation",
        "fan-in, Caffe's default",
        "probably small: BN removes the factor; with fan-out the first layer starts 2.3 times smaller (ImageNet: 4.6)",
        "both",
    ),
    Choice(
        "weight decay on BN and biases",
        "on every parameter, Caffe's default",
        "on errors not measured; responses are half of Figure 7's, which decay on BN may explain (docs/paper-scale.md)",
        "both",
    ),
    Choice(
        "how momentum and learning rate combine",
        "as in PyTorch: the rate multiplies the whole velocity; in Caffe the velocity contains earlier rates for some "
        "updates after a step",
        "none visible at 64,000 updates",
        "both",
    ),
    Choice(
        "BN statistics at test time",
        "on CIFAR-10 averaged over 5,120 training images with fixed weights, as in Algorithm 2 of the BN paper that "
        "section 3.4 follows and in the models that the authors released; running statistics, with PyTorch's momentum "
        "0.1, are shown beside them; verdicts, ensembles and ImageNet's nets use the running ones; epsilon 1e-5",
        "on CIFAR-10: with averaged ones the error of nets of 20 layers is 0.01 to 0.12 higher at the end, plain-20's "
        "is 1 to 15 points lower while the rate is 0.1; that of nets of 32 and 56 layers is between 0.01 lower and "
        "0.13 higher at the end (docs/paper-scale.md); ImageNet: not measured",
        "both",
    ),
    Choice(
        'the window of "training error below 80%" that ends ResNet-110\'s warm-up',
        "the last 100 updates",
        "the warm-up ends some tens of updates later",
        "cifar10",
    ),
    Choice("which nets warm up", "those of 110 layers and more", "1202 layers need it more, if anything", "cifar10"),
    Choice("where option A's zero channels stand", "zero channels come last", "none: a relabelling", "both"),
    Choice(
        'what "when the error plateaus" means (ImageNet)',
        "the training error's mean over 5,005 updates (an epoch) is not 0.5 points below the best before, 3 "
        "times in a row; at most 3 drops; in a shorter schedule the window is shorter, but not below 1,000 "
        "updates; in Figure 4 the errors drop after 150,000 and 300,000 updates, the first two steps of "
        "`--deviation fixed-steps`",
        "the rate drops when the error falls by less than a sixth of a point per epoch; validation data play no part",
        "imagenet",
    ),
    Choice(
        "the mean image's own size and scale (ImageNet)",
        "of the training images' centre crops at shorter side 256",
        "none known",
        "imagenet",
    ),
    Choice("the mean at other test sizes", "per channel", "none known", "imagenet"),
    Choice(
        "the scale of the colour augmentation",
        "eigenvalues of colours between 0 and 1, as fb.resnet.torch",
        "none known",
        "imagenet",
    ),
    Choice(
        "10-crop and dense scores",
        "softmax of each view, averaged; dense: logits averaged over the map first, each image and its mirror, as VGG",
        "small",
        "imagenet",
    ),
    Choice(
        "Table 5's six models",
        "ResNet-34 B and C, -50, -101 and two of -152",
        "not known; besides, ours is on the validation set, because the test set's labels are not public",
        "imagenet",
    ),
    Choice(
        "on which images the nets of Table 6 are trained",
        "on all 50,000; the split of 45,000 and 5,000, on which the paper chose the number of updates, is "
        "`--split 45k-5k`",
        "the error is higher with 45,000; by how much is not known",
        "cifar10",
    ),
    Choice(
        "over how many images batch normalisation computes its statistics: the paper's batch was on two GPUs",
        "over all 128; `--accumulate 2` uses 64 at a time",
        "not known, probably small",
        "cifar10",
    ),
    Choice(
        "which 5,000 images `--split 45k-5k` holds out",
        "the last 5,000 of the training set",
        "within the noise",
        "cifar10",
    ),
    Choice(
        "over which images Figure 7's deviations are taken",
        "the test set, all channels and positions; the first layer is included",
        "small",
        "cifar10",
    ),
    Choice(
        "best or last error in Table 6",
        "last; in Figure 6 the curves of ResNet-20 to -56 end within 0.03 of the table's numbers, so the paper's "
        "are the last ones too",
        "none",
        "cifar10",
    ),
)


def choices(tasks: set[str]) -> list[Choice]:
    """The choices that concern these tasks, by name."""
    both = {"both"} if tasks & {"cifar10", "imagenet"} else set()
    return [choice for choice in CHOICES if choice.task in tasks | both]
