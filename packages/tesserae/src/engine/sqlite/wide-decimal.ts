/**
 * Decimals of more than fifteen digits as text whose byte order is their numeric order, whatever their scale. Two texts are equal when
 * the numbers are, so keys, joins, ORDER BY, min and max work on the text itself.
 *
 * Not negative: `p`, the number of digits before the point in two digits, those digits, and, if there is a fraction, a point and the fraction
 * without trailing zeros: 123.45 is `p03123.45`, 0.5 is `p00.5`, 0 is `p00`.
 * Negative: `n`, the same with each digit d written as 9−d, and `~` at the end: −123.45 is `n96876.54~`. `~` sorts after the digits and the
 * point, so that −1.2 (`n988.7~`) comes after −1.25 (`n988.74~`).
 */

const COMPLEMENT = "9876543210";
const FORM = /^(?:p(\d\d)(\d*)(?:\.(\d+))?|n(\d\d)(\d*)(?:\.(\d+))?~)$/;

/** From a decimal in canonical form: no leading zeros but one before the point, no "-0". */
export function toWideDecimal(canonical: string): string {
  const negative = canonical.charCodeAt(0) === 45;
  const point = canonical.indexOf(".");
  const start = negative ? 1 : 0;
  const whole = point === -1 ? canonical.slice(start) : canonical.slice(start, point);
  const fraction = point === -1 ? "" : withoutTrailingZeros(canonical.slice(point + 1));
  const digits = whole === "0" ? "" : whole;
  const body = `${String(digits.length).padStart(2, "0")}${digits}${fraction === "" ? "" : `.${fraction}`}`;
  return negative ? `n${complement(body)}~` : `p${body}`;
}

/** The decimal with exactly `scale` fraction digits; undefined when the text is not of the form, or has more of them. */
export function fromWideDecimal(text: string, scale: number): string | undefined {
  const match = FORM.exec(text);
  if (match === null) return undefined;
  const negative = text.charCodeAt(0) === 110;
  const read = (part: string | undefined) => (negative ? complement(part ?? "") : (part ?? ""));
  const whole = read(negative ? match[5] : match[2]);
  const fraction = read(negative ? match[6] : match[3]);
  const length = Number(read(negative ? match[4] : match[1]));
  if (fraction.length > scale || whole.length !== length) return undefined;
  const sign = negative ? "-" : "";
  return scale === 0 ? `${sign}${whole || "0"}` : `${sign}${whole || "0"}.${fraction.padEnd(scale, "0")}`;
}

/** The same in SQL, for triggers, which know none of this process's functions. */
export function wideDecimalText(expression: string, scale: number): string {
  const digits = [...COMPLEMENT].keys().toArray();
  // Each digit by way of a letter, lest one that was replaced be replaced again.
  const lettered = digits.reduce(
    (inner, digit) => `replace(${inner}, '${digit}', '${String.fromCharCode(97 + digit)}')`,
    `rtrim(substr(${expression}, 4), '~')`,
  );
  const complemented = digits.reduce(
    (inner, digit) => `replace(${inner}, '${String.fromCharCode(97 + digit)}', '${9 - digit}')`,
    lettered,
  );
  const body = `iif(${expression} < 'p', ${complemented}, substr(${expression}, 4))`;
  const point = `instr(${body} || '.', '.')`;
  const whole = `iif(${point} = 1, '0', substr(${body}, 1, ${point} - 1))`;
  const fraction =
    scale === 0
      ? ""
      : ` || '.' || substr(substr(${body}, ${point} + 1) || '${"0".repeat(scale)}', 1, ${scale})`;
  return `(iif(${expression} < 'p', '-', '') || ${whole}${fraction})`;
}

function complement(text: string): string {
  let result = "";
  for (const character of text) result += character === "." ? "." : COMPLEMENT[Number(character)];
  return result;
}

function withoutTrailingZeros(digits: string): string {
  let end = digits.length;
  while (end > 0 && digits.charCodeAt(end - 1) === 48) end -= 1;
  return digits.slice(0, end);
}
