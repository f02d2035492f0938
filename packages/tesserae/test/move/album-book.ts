/** What an application has written of one key, kept in plain maps: whatever moves the key, its rows must be these. */
import { expect } from "vitest";
import type { Albums } from "./albums.ts";

interface Photo {
  readonly album_id: bigint | null;
  readonly title: string;
  readonly place: string | null;
}
interface Album {
  readonly parent_id: bigint | null;
  readonly cover_id: bigint | null;
  readonly name: string;
}

export class AlbumBook {
  readonly #albums: Albums;
  readonly #key: bigint;
  readonly albums = new Map<bigint, Album>();
  readonly photos = new Map<bigint, Photo>();

  constructor(albums: Albums, key: bigint) {
    this.#albums = albums;
    this.#key = key;
  }

  get #session() {
    return this.#albums.fed.at(this.#key);
  }

  /** Photos with the ids from 1, in the place of their id. */
  async seed(photos: number): Promise<void> {
    const rows = Array.from({ length: photos }, (_, index) => ({
      id: BigInt(index + 1),
      album_id: null,
      title: `photo ${index + 1}`,
      place: `${index + 1}`,
    }));
    for (let start = 0; start < rows.length; start += 1000)
      await this.#session
        .insertInto("photos")
        .values(rows.slice(start, start + 1000))
        .execute();
    for (const { id, ...photo } of rows) this.photos.set(id, photo);
  }

  async addPhoto(id: bigint, photo: Photo): Promise<void> {
    await this.#session
      .insertInto("photos")
      .values({ id, ...photo })
      .execute();
    this.photos.set(id, photo);
  }

  async changePhoto(id: bigint, change: Partial<Photo>): Promise<void> {
    await this.#session.updateTable("photos").set(change).where("id", "=", id).execute();
    this.photos.set(id, { ...this.#photo(id), ...change });
  }

  async deletePhoto(id: bigint): Promise<void> {
    await this.#session.deleteFrom("photos").where("id", "=", id).execute();
    this.#photo(id);
    this.photos.delete(id);
  }

  async renumberPhoto(id: bigint, to: bigint): Promise<void> {
    await this.#session.updateTable("photos").set({ id: to }).where("id", "=", id).execute();
    this.photos.set(to, this.#photo(id));
    this.photos.delete(id);
  }

  /** Two photos change places, which no two may have at once. */
  async swapPlaces(a: bigint, b: bigint): Promise<void> {
    const [ofA, ofB] = [this.#photo(a).place, this.#photo(b).place];
    await this.#session.transaction().execute(async (tx) => {
      const put = (id: bigint, place: string | null) =>
        tx.updateTable("photos").set({ place }).where("id", "=", id).execute();
      await put(a, null);
      await put(b, ofA);
      await put(a, ofB);
    });
    this.photos.set(a, { ...this.#photo(a), place: ofB });
    this.photos.set(b, { ...this.#photo(b), place: ofA });
  }

  /** The second photo takes the first one's place, which has none from then on. */
  async takePlace(from: bigint, to: bigint): Promise<void> {
    const { place } = this.#photo(from);
    await this.#session.transaction().execute(async (tx) => {
      await tx.updateTable("photos").set({ place: null }).where("id", "=", from).execute();
      await tx.updateTable("photos").set({ place }).where("id", "=", to).execute();
    });
    this.photos.set(from, { ...this.#photo(from), place: null });
    this.photos.set(to, { ...this.#photo(to), place });
  }

  async addAlbum(id: bigint, album: Album): Promise<void> {
    await this.#session
      .insertInto("albums")
      .values({ id, ...album })
      .execute();
    this.albums.set(id, album);
  }

  async changeAlbum(id: bigint, change: Partial<Album>): Promise<void> {
    await this.#session.updateTable("albums").set(change).where("id", "=", id).execute();
    this.albums.set(id, { ...(this.albums.get(id) as Album), ...change });
  }

  async deleteAlbum(id: bigint): Promise<void> {
    await this.#session.deleteFrom("albums").where("id", "=", id).execute();
    this.albums.delete(id);
  }

  /** The key's rows are these and no others, each once, and all on this shard. */
  async expectOn(shard: number): Promise<void> {
    const owner = this.#key;
    const { albums, photos } = await this.#albums.rowsOf(owner);
    const inOrder = <Row>(rows: ReadonlyMap<bigint, Row>) =>
      [...rows].map(([id, row]) => ({ ...row, id, owner })).sort((a, b) => (a.id < b.id ? -1 : 1));
    expect(albums).toEqual(inOrder(this.albums));
    expect(photos).toEqual(inOrder(this.photos));
    for (const each of [1, 2]) {
      for (const [table, rows] of [
        ["albums", this.albums],
        ["photos", this.photos],
      ] as const) {
        const [count] = await this.#albums.sql(
          each,
          `select count(*) as n from ${table} where owner = ${owner}`,
        );
        expect(Number(count?.["n"]), `${table} on shard ${each}`).toBe(each === shard ? rows.size : 0);
      }
      const [entries] = await this.#albums.sql(
        each,
        `select count(*) as n from tesserae_log_default where key_value = ${owner}`,
      );
      expect(Number(entries?.["n"]), `entries of the log of shard ${each}`).toBe(0);
    }
  }

  #photo(id: bigint): Photo {
    const photo = this.photos.get(id);
    if (photo === undefined) throw new Error(`the book has no photo ${id}`);
    return photo;
  }
}
