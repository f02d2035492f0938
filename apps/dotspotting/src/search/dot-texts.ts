/** The texts that dots are found by: written with the dots, deleted with them, and made good for dots that are older than the search. */
import type { DotFederation } from "../federation.ts";
import { dotText } from "./search-text.ts";

const textsAtOnce = 500;

interface TextedDot {
  readonly id: bigint;
  readonly created: Date;
  readonly label: string;
  readonly details: Record<string, unknown>;
}

/** Writes the texts of some dots of one sheet; those that are there already stay as they are. */
export async function writeDotTexts(
  fed: DotFederation,
  userId: bigint,
  sheetId: bigint,
  dots: readonly TextedDot[],
): Promise<void> {
  const texts = dots.map((dot) => ({
    id: dot.id,
    sheet_id: sheetId,
    created: dot.created,
    text: dotText(dot),
  }));
  await fed
    .at(userId)
    .insertInto("dot_texts")
    .values(texts)
    .onConflict((conflict) => conflict.columns(["user_id", "id"]).doNothing())
    .execute();
}

/** From now on this sheet's dots are known to have their texts. */
export async function markSearchable(fed: DotFederation, sheetId: bigint): Promise<void> {
  await fed.main
    .insertInto("searchable_sheets")
    .values({ id: sheetId })
    .onConflict((conflict) => conflict.column("id").doNothing())
    .execute();
}

/**
 * Makes the dots searchable that were imported before there was a search. It may be broken off anywhere and begun again, and may run in several processes. Returns how many
 * sheets there were.
 */
export async function makeOlderSheetsSearchable(fed: DotFederation): Promise<number> {
  for (let made = 0; ; made++) {
    const sheet = await fed.main
      .selectFrom("sheets_lookup")
      .leftJoin("searchable_sheets", "searchable_sheets.id", "sheets_lookup.id")
      .select(["sheets_lookup.id", "sheets_lookup.user_id"])
      .where("searchable_sheets.id", "is", null)
      .where("sheets_lookup.state", "in", ["ready", "draft"])
      .orderBy("sheets_lookup.created", "desc")
      .orderBy("sheets_lookup.id", "desc")
      .limit(1)
      .executeTakeFirst();
    if (!sheet) return made;
    await writeTextsOfSheet(fed, sheet.user_id, sheet.id);
    await markSearchable(fed, sheet.id);
  }
}

async function writeTextsOfSheet(fed: DotFederation, userId: bigint, sheetId: bigint): Promise<void> {
  for (let after = 0n; ; ) {
    const dots = await fed
      .at(userId)
      .selectFrom("dots")
      .select(["id", "created", "label", "details"])
      .where("sheet_id", "=", sheetId)
      .where("id", ">", after)
      .orderBy("id")
      .limit(textsAtOnce)
      .execute();
    if (dots.length > 0) await writeDotTexts(fed, userId, sheetId, dots);
    if (dots.length < textsAtOnce) return;
    after = dots.at(-1)!.id;
  }
}
