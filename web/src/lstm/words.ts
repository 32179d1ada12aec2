/** The quantities of an LSTM: their names, and what each one does. */
export type Quantity = "i" | "f" | "g" | "o" | "c" | "h";

export const TITLES: Record<Quantity, string> = {
  i: "input gate",
  f: "forget gate",
  g: "cell candidate",
  o: "output gate",
  c: "cell state",
  h: "hidden state",
};

export const ROLES: Record<Quantity, string> = {
  i: "how much g enters c",
  f: "how much of c stays",
  g: "what may enter c",
  o: "how much of c is shown",
  c: "what is remembered",
  h: "what is passed on",
};
