/**
 * Types of the manifest that Python writes: what is in the file, and in which data block.
 *
 * `src/reviver/explorer/manifest.py` declares the same keys; a test compares both on real files.
 *
 * Shapes: N images, C channels, H height, W width, P = C·H·W pixels, Z latent size, K classes, S snapshots, T time steps,
 * I input size.
 */

/**
 * A tensor inside a data block.
 *
 * - `f16`: n half-precision numbers, first their n low bytes, then their n high bytes; the value is number × `scale`.
 * - `f32`: n little-endian single-precision numbers.
 * - `u8`: n bytes; for images the value is byte / 127.5 - 1.
 * @typedef {object} TensorSpec
 * @property {"f16" | "f32" | "u8"} dtype
 * @property {number} offset first byte in the inflated block
 * @property {number[]} shape
 * @property {number} [scale] a power of two
 */

/**
 * Tensors by name in one data block.
 * @typedef {object} TensorBlock
 * @property {string} block id of the script element
 * @property {Record<string, TensorSpec>} tensors
 */

/**
 * A linear layer and its activation: y = activation(W x + b).
 * @typedef {object} LayerSpec
 * @property {string} weight name of W [outputs, inputs], or of a convolution [outputs, inputs, 3, 3]
 * @property {string} bias name of b [outputs]
 * @property {"leaky-relu" | "relu" | "tanh" | "none"} activation
 */

/**
 * A multilayer perceptron. BatchNorm in eval mode is part of its weights.
 * @typedef {object} MlpSpec
 * @property {TensorBlock} weights
 * @property {LayerSpec[]} layers
 * @property {number} negativeSlope of LeakyReLU
 */

/**
 * The classifier: (Conv 3 × 3 → ReLU → MaxPool 2 × 2) per convolution, then linear layers. BatchNorm is part of the
 * weights.
 * @typedef {object} ClassifierSpec
 * @property {TensorBlock} weights
 * @property {[number, number, number]} imageShape
 * @property {LayerSpec[]} convolutions
 * @property {LayerSpec[]} layers
 * @property {string[]} classNames
 */

/**
 * Pictures of the same latents, and what D thought of them, at some moments of the training.
 * @typedef {object} SnapshotsSpec
 * @property {TensorBlock} data `images` u8 [S, N, C, H, W]; `real` u8 [N, C, H, W], the real images that D saw each time,
 *   absent in a page without real images
 * @property {SnapshotSpec[]} moments S of them, in the order of training
 */

/**
 * @typedef {object} SnapshotSpec
 * @property {number} step updates so far
 * @property {number} epoch epochs so far, with fraction
 * @property {string} label such as "update 200" or "epoch 5"
 * @property {number[]} realLogits log-odds of D for `real` [N]
 * @property {number[]} fakeLogits log-odds of D for the pictures [N]
 */

/**
 * Columns of numbers by name, of equal length: the records of a run. Null where a value was not finite.
 * @typedef {Record<string, (number | null)[]>} Columns
 */

/**
 * A fact about a run in words. `note` explains it.
 * @typedef {object} Fact
 * @property {string} label
 * @property {string} value
 * @property {string} [note]
 */

/**
 * A score beside its baselines, as text with its unit.
 * @typedef {object} ScoreRow
 * @property {string} name
 * @property {string} value
 * @property {string | null} real the same score of real images; null of an LSTM
 * @property {string | null} noise the same score of noise; of an LSTM, that of the best guess without memory
 */

/**
 * Difference between the embedded, rounded network and the trained one.
 * @typedef {object} Rounding
 * @property {string} network
 * @property {string} unit what is compared, such as "pixel, from -1 to 1"
 * @property {number} max
 * @property {number} mean
 */

/**
 * @typedef {object} Facts
 * @property {Fact[]} run seed, data, duration, versions and so on
 * @property {Fact[]} config every setting; `note` is "changed" where it differs from the default
 * @property {string} command the command that repeats the run
 * @property {ScoreRow[]} scores
 * @property {string} scoresNote extractor and number of samples
 * @property {Rounding[]} rounding
 * @property {Fact[]} licenses
 */

/**
 * A GAN run.
 * @typedef {object} GanContent
 * @property {string} id
 * @property {string} name of the run folder
 * @property {string} runArgument the run folder as commands to copy name it, before they quote it
 * @property {number} step
 * @property {[number, number, number]} imageShape (C, H, W)
 * @property {number} noiseSize numbers of z that are noise; the K others of a conditional generator are its one-hot class
 * @property {number} latentSize Z
 * @property {number} numClasses K, 0 unless conditional
 * @property {string[]} classNames [K]
 * @property {MlpSpec} generator
 * @property {MlpSpec | null} discriminator
 * @property {boolean} isLogOdds whether the output of D is a log-odds; other losses than the logistic one train D to give a
 *   number without a unit
 * @property {ClassifierSpec | null} classifier null where no classifier knows these images
 * @property {TensorBlock} latents `grid` f32 [25, Z], of the sample grids; `endpoints` f32 [E, Z]; `directions` f32
 *   [2, Z], orthonormal, along which images change most: the first two eigenvectors of the mean of Jᵀ J, J = ∂image/∂z
 * @property {(number | null)[]} endpointClasses class of each end point by the classifier or by condition [E]
 * @property {{real: number[], fake: number[], realSource: string}} logits log-odds of D for real images and for samples,
 *   the context of one image's log-odds; `real` is empty and `realSource` "" without
 *   real images
 * @property {SnapshotsSpec | null} snapshots
 * @property {TensorBlock | null} training `images` u8 [M, C, H, W] and, with labels, `labels` u8 [M] (f32 for more than
 *   256 classes)
 * @property {TensorBlock | null} test `images` u8 [N, C, H, W] and, with labels, `labels` u8 [N]: real images to draw after
 * @property {string[] | null} labelNames names of the labels of `training` and `test`
 * @property {Columns} metrics
 * @property {Columns} scores
 * @property {Facts} facts
 */

/**
 * Weights of an LSTM at one moment of the training. Names as in the state dict: `lstm.layers.0.W_i` ..., `W_out`, `b_out`;
 * of a vanilla RNN `W`, `U`, `b`, `W_out`, `b_out`.
 * @typedef {object} LstmStage
 * @property {string} label such as "epoch 1"
 * @property {TensorBlock} weights
 */

/**
 * A sequence to look at.
 * @typedef {object} Example
 * @property {number[]} values symbols [T], or numbers [T · I], row by row, as a user would type them (not standardized)
 * @property {number} steps T
 * @property {number | number[]} target class, class at every step, or number
 */

/**
 * An LSTM run.
 * @typedef {object} LstmContent
 * @property {string} id
 * @property {string} name
 * @property {string} runArgument
 * @property {"lstm" | "rnn"} cell
 * @property {string} task
 * @property {"class" | "class at every step" | "number"} target
 * @property {"symbols" | "numbers"} inputKind
 * @property {"scalar" | "onehot"} encoding of symbols
 * @property {string[] | null} symbolNames of the symbols
 * @property {number} inputSize I of one step, after the encoding and before patches
 * @property {string[]} channelNames of numbers [I]
 * @property {string[] | null} classNames
 * @property {number} outputSize
 * @property {number} hiddenSize
 * @property {number} numLayers
 * @property {boolean} bidirectional
 * @property {"last" | "mean" | "max" | "attention"} pooling
 * @property {number} patchSize
 * @property {number} hiddenDropout p
 * @property {"step" | "variational" | "zoneout"} hiddenDropoutKind
 * @property {number} length T of the training
 * @property {{mean: number[], scale: number[]} | null} standardization per channel
 * @property {LstmStage[]} stages first, middle and last, or fewer
 * @property {Example[]} examples
 * @property {Columns} metrics
 * @property {Facts} facts
 */

/**
 * @typedef {object} Manifest
 * @property {1} schemaVersion
 * @property {string} version of Reviver
 * @property {string} title
 * @property {GanContent[]} gans
 * @property {LstmContent[]} lstms
 */

/**
 * A lesson: chosen panels, a start view and a question of the teacher. Stands in the data block `lesson`.
 * @typedef {object} Lesson
 * @property {1} schema
 * @property {string} title
 * @property {string} question
 * @property {string[]} panels ids
 * @property {string} start URL fragment of the first view, without #
 */

export {};
