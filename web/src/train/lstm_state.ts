/** What a run of the LSTM records. */

/** Metrics of an epoch, as a line of metrics.jsonl. */
export interface LstmEpoch {
  step: number;
  epoch: number;
  sequences: number;
  length: number;
  validationSequences: number;
  trainLoss: number;
  trainAccuracy: number;
  validationLoss: number;
  validationAccuracy: number;
}

/** What an update gives: the loss of its batch before it, the number of correct sequences, the norm of the gradient. */
export interface LstmUpdate {
  loss: number;
  correct: number;
  count: number;
  norm: number;
}
