package calcache

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"

	"github.com/perdure/perdure/calendar/internal/jsonvalue"
	"github.com/perdure/perdure/durable"
)

// Copies are the second thing in this cache, for calendar.Service: whole copies of
// calendars, of any size, that outlive the TTL, because after it they are compared
// with the server instead of being fetched anew. They are reached by typed methods
// only; of the requests, DELETE /clear forgets them too, without counting them.
//
// A copy is a head and the blobs that the head lists; content is the blobs one after
// the other. Keys, after those in the package comment:
//
//	e USER v NAME        the head: a CBOR map of kind (1), generation (5), version (6), when it was compared (7), what the caller notes (8), blob ids (9), patches since the last commit (11)
//	e USER w NAME ID     a blob: a CBOR map of kind (1) and content (10); ID is 16 hex digits
//
// What holds for them:
//
//  1. Blobs never change. A head lists only blobs that exist.
//  2. Each change of a head gives it a new version; each invalidation also a new
//     generation. Both are random, so that none comes back, not even after a clear.
//  3. A fill is committed only if generation and version are those from before its fetch.
//  4. A patch is appended only if no fill was committed since its write began; else
//     the copy is marked as not compared. Then it is right after the next comparison.
const (
	heads kind = "v"
	blobs kind = "w"
)

// MaxBlob is how large a blob may be.
const MaxBlob = 120 << 10

// MaxBlobs is how many blobs a copy may have: the head is a value too.
const MaxBlobs = 8000

// maxPatches is how many patches are appended between two commits. The next one marks
// the copy as not compared, and the commit after that can put it in order.
const maxPatches = 256

// CopyKey names a copy.
type CopyKey struct {
	User string
	Name string
}

// Copy is the head of a copy.
type Copy struct {
	Generation uint64 // never 0
	Version    uint64 // of the content; 0 if there is no copy
	Checked    int64  // when it was last compared with the original, in Unix milliseconds; 0: not since a write
	Note       []byte // the caller's
	Blobs      []uint64
}

type headRecord struct {
	Kind       kind     `cbor:"1,keyasint"`
	Generation uint64   `cbor:"5,keyasint"`
	Version    uint64   `cbor:"6,keyasint,omitempty"`
	Checked    int64    `cbor:"7,keyasint,omitempty"`
	Note       []byte   `cbor:"8,keyasint,omitempty"`
	Blobs      []uint64 `cbor:"9,keyasint,omitempty"`
	Patches    int      `cbor:"11,keyasint,omitempty"` // appended since the last commit
}

type blobRecord struct {
	Kind kind   `cbor:"1,keyasint"`
	Data []byte `cbor:"10,keyasint"`
}

func headKey(k CopyKey) string { return userPrefix(k.User) + string(heads) + plain(k.Name) }

func blobPrefix(k CopyKey) string { return userPrefix(k.User) + string(blobs) + plain(k.Name) }

func blobKey(k CopyKey, id uint64) string { return blobPrefix(k) + fmt.Sprintf("%016x", id) }

// Copy returns the head of a copy. Without one it has a generation all the same.
func (c *Cache) Copy(ctx context.Context, k CopyKey) (Copy, error) {
	rec, err := c.head(ctx, k)
	if err != nil {
		return Copy{}, err
	}
	if rec.Generation == 0 {
		rec.Generation = unique()
		if err := c.putHead(ctx, k, rec); err != nil {
			return Copy{}, err
		}
	}
	return Copy{rec.Generation, rec.Version, rec.Checked, rec.Note, rec.Blobs}, nil
}

// BlobRequest asks for blobs of a copy: 32 at most.
type BlobRequest struct {
	Key CopyKey
	IDs []uint64
}

// ReadBlobs returns blobs in the order asked for. One that does not exist any more is
// nil: the copy was replaced, and its head is to be read again.
func (c *Cache) ReadBlobs(ctx context.Context, req BlobRequest) ([][]byte, error) {
	keys := make([]string, len(req.IDs))
	for i, id := range req.IDs {
		keys[i] = blobKey(req.Key, id)
	}
	found, err := c.state.Storage().GetMany(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("read copy: %w", err)
	}
	out := make([][]byte, len(keys))
	for i, key := range keys {
		v, ok := found[key]
		if !ok {
			continue
		}
		var rec blobRecord
		if err := v.Decode(&rec); err != nil {
			return nil, fmt.Errorf("read copy: %w", err)
		}
		out[i] = rec.Data
	}
	return out, nil
}

// StageRequest holds blobs that a later commit will list: 32 at most, each at most MaxBlob.
type StageRequest struct {
	Key   CopyKey
	Blobs [][]byte
}

// Stage stores blobs that belong to no copy yet and returns their ids. Those that are
// never committed go with the next commit of a whole copy.
func (c *Cache) Stage(ctx context.Context, req StageRequest) ([]uint64, error) {
	ids := make([]uint64, len(req.Blobs))
	entries := make(map[string]any, len(ids))
	for i, data := range req.Blobs {
		ids[i] = unique()
		entries[blobKey(req.Key, ids[i])] = blobRecord{blobs, data}
	}
	if err := c.state.Storage().PutMany(ctx, entries); err != nil {
		return nil, fmt.Errorf("stage copy: %w", err)
	}
	return ids, nil
}

// CommitRequest ends a fill. Generation and Version are those from before the fetch.
type CommitRequest struct {
	Key        CopyKey
	Generation uint64
	Version    uint64
	Checked    int64
	Note       []byte
	Blobs      []uint64
	Whole      bool // nothing of the old copy stays
}

// Commit makes a fill the copy and returns its version; 0 if it was dropped because
// the copy was invalidated or filled meanwhile.
func (c *Cache) Commit(ctx context.Context, req CommitRequest) (version uint64, err error) {
	rec, err := c.head(ctx, req.Key)
	if err != nil || rec.Generation != req.Generation || rec.Version != req.Version {
		return 0, err
	}
	if len(req.Blobs) > MaxBlobs {
		return 0, fmt.Errorf("commit copy: %d blobs, at most %d", len(req.Blobs), MaxBlobs)
	}
	gone, err := c.replaced(ctx, rec, &req)
	if err != nil || gone == nil {
		return 0, err
	}
	if err := c.deleteBlobs(ctx, req.Key, gone); err != nil {
		return 0, err
	}
	rec.Version, rec.Checked, rec.Note, rec.Blobs, rec.Patches = unique(), req.Checked, req.Note, req.Blobs, 0
	return rec.Version, c.putHead(ctx, req.Key, rec)
}

// replaced returns the blobs that a commit deletes, not nil; nil if a blob that it
// lists does not exist.
func (c *Cache) replaced(ctx context.Context, rec *headRecord, req *CommitRequest) (gone []uint64, err error) {
	listed := make(map[uint64]bool, len(req.Blobs))
	for _, id := range req.Blobs {
		listed[id] = true
	}
	present := make(map[uint64]bool)
	if req.Whole { // and what fills left that never came to their end
		if present, err = c.blobIDs(ctx, req.Key); err != nil {
			return nil, err
		}
	} else {
		for _, id := range rec.Blobs {
			present[id] = true
		}
		staged := slices.DeleteFunc(slices.Clone(req.Blobs), func(id uint64) bool { return present[id] })
		for chunk := range slices.Chunk(staged, 32) {
			found, err := c.ReadBlobs(ctx, BlobRequest{req.Key, chunk})
			if err != nil {
				return nil, err
			}
			for i, data := range found {
				present[chunk[i]] = data != nil
			}
		}
	}
	for id := range listed {
		if !present[id] {
			return nil, nil
		}
	}
	gone = []uint64{}
	for id := range present {
		if !listed[id] {
			gone = append(gone, id)
		}
	}
	return gone, nil
}

// CheckRequest says that a copy was compared with its original and is the same.
type CheckRequest struct {
	Key     CopyKey
	Version uint64
	Checked int64
}

// Check notes that a copy was compared. It does nothing if the copy has changed meanwhile.
func (c *Cache) Check(ctx context.Context, req CheckRequest) error {
	rec, err := c.head(ctx, req.Key)
	if err != nil || rec.Version != req.Version || rec.Version == 0 || rec.Checked >= req.Checked {
		return err
	}
	rec.Checked = req.Checked
	return c.putHead(ctx, req.Key, rec)
}

// PatchRequest says that something was written to the original. Version is that of the
// copy from before the write.
type PatchRequest struct {
	Key     CopyKey
	Version uint64
	Blob    []byte // what to append; nil: the copy is only invalidated
}

// Patch invalidates the fills that are under way, and appends what was written where
// that is right: else the copy counts as not compared. It returns the new version if
// the blob was appended, else 0.
func (c *Cache) Patch(ctx context.Context, req PatchRequest) (version uint64, err error) {
	rec, err := c.head(ctx, req.Key)
	if err != nil {
		return 0, err
	}
	rec.Generation = unique()
	same := rec.Version == req.Version && rec.Version != 0
	if same && len(req.Blob) > 0 && len(req.Blob) <= MaxBlob && len(rec.Blobs) < MaxBlobs && rec.Patches < maxPatches {
		id := unique()
		if err := c.state.Storage().Put(ctx, blobKey(req.Key, id), blobRecord{blobs, req.Blob}); err != nil {
			return 0, fmt.Errorf("patch copy: %w", err)
		}
		rec.Blobs = append(rec.Blobs, id)
		rec.Version = unique()
		rec.Patches++
		return rec.Version, c.putHead(ctx, req.Key, rec)
	}
	rec.Checked = 0
	return 0, c.putHead(ctx, req.Key, rec)
}

// Drop deletes a copy. Fills under way are dropped too.
func (c *Cache) Drop(ctx context.Context, k CopyKey) error {
	present, err := c.blobIDs(ctx, k)
	if err != nil {
		return err
	}
	var ids []uint64
	for id := range present {
		ids = append(ids, id)
	}
	if err := c.deleteBlobs(ctx, k, ids); err != nil {
		return err
	}
	return c.putHead(ctx, k, &headRecord{Kind: heads, Generation: unique()})
}

// Preferences is a user's preferences entry, the one that GET /preferences returns.
type Preferences struct {
	User       string
	Generation uint64 // as of a Copy; 0 in PutPreferences: what is put is newer than all else
	Data       []byte // JSON; nil if there is no entry, or none that has not expired
}

// preferencesCopy is the copy whose generation guards the preferences entry.
const preferencesCopy = "preferences"

// GetPreferences returns the preferences entry with the generation to fill it with.
func (c *Cache) GetPreferences(ctx context.Context, user string) (Preferences, error) {
	head, err := c.Copy(ctx, CopyKey{user, preferencesCopy})
	if err != nil {
		return Preferences{}, err
	}
	p := Preferences{User: user, Generation: head.Generation}
	rec, err := c.read(ctx, entryKey(user, preferences, ""))
	if err == nil && rec != nil && !c.expired(rec, c.now()) {
		p.Data = rec.Data
	}
	return p, err
}

// PutPreferences stores the entry. With a generation that is no longer the present
// one it does nothing.
func (c *Cache) PutPreferences(ctx context.Context, p Preferences) error {
	k := CopyKey{p.User, preferencesCopy}
	rec, err := c.head(ctx, k)
	if err != nil {
		return err
	}
	if p.Generation != 0 && p.Generation != rec.Generation {
		return nil
	}
	data, err := jsonvalue.Parse(p.Data)
	if err != nil {
		return fmt.Errorf("save preferences: %w", err)
	}
	if p.Generation == 0 {
		rec.Generation = unique()
		if err := c.putHead(ctx, k, rec); err != nil {
			return err
		}
	}
	return c.store(ctx, preferences, entryKey(p.User, preferences, ""), data)
}

func (c *Cache) head(ctx context.Context, k CopyKey) (*headRecord, error) {
	rec := &headRecord{Kind: heads}
	if _, err := c.state.Storage().Get(ctx, headKey(k), rec); err != nil {
		return nil, fmt.Errorf("read copy: %w", err)
	}
	return rec, nil
}

func (c *Cache) putHead(ctx context.Context, k CopyKey, rec *headRecord) error {
	if err := c.state.Storage().Put(ctx, headKey(k), rec); err != nil {
		return fmt.Errorf("save copy: %w", err)
	}
	return nil
}

func (c *Cache) blobIDs(ctx context.Context, k CopyKey) (map[uint64]bool, error) {
	prefix := blobPrefix(k)
	ids := make(map[uint64]bool)
	for e, err := range c.state.Storage().List(ctx, durable.ListOptions{Prefix: prefix}) {
		if err != nil {
			return nil, fmt.Errorf("list copy: %w", err)
		}
		id, err := strconv.ParseUint(e.Key[len(prefix):], 16, 64)
		if err == nil {
			ids[id] = true
		}
	}
	return ids, nil
}

func (c *Cache) deleteBlobs(ctx context.Context, k CopyKey, ids []uint64) error {
	for chunk := range slices.Chunk(ids, 100) {
		keys := make([]string, len(chunk))
		for i, id := range chunk {
			keys[i] = blobKey(k, id)
		}
		if _, err := c.state.Storage().DeleteMany(ctx, keys); err != nil {
			return fmt.Errorf("drop copy: %w", err)
		}
	}
	return nil
}

// unique returns a number that was never used before: random, and not 0.
func unique() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:]) | 1
}
