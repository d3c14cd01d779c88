package calendar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/perdure/perdure/calendar/calcache"
	"github.com/perdure/perdure/durable"
)

// copyNote is what a copy of a calendar notes beside its content.
type copyNote struct {
	Source string `cbor:"1,keyasint"`
	CTag   string `cbor:"2,keyasint,omitempty"` // from before the fetch: an older one only costs a comparison
	Token  string `cbor:"3,keyasint,omitempty"`
}

const (
	callBlobs = 32           // of one call
	maxBlob   = 100 << 10    // a value is 128 KiB at most
	eventsKey = "objects:"   // with the href: the copy of a calendar
	listKey   = "collection" // the copy of the list of calendars
)

// errReplaced says that a copy was replaced while it was read.
var errReplaced = errors.New("calendar: copy was replaced")

func (u *User) cacheStub() *durable.Stub { return u.svc.cache.Named(u.id) }

func (u *User) copyKey(name string) calcache.CopyKey { return calcache.CopyKey{User: u.id, Name: name} }

func (u *User) head(ctx context.Context, name string) (calcache.Copy, error) {
	head, err := durable.Call(ctx, u.cacheStub(), (*calcache.Cache).Copy, u.copyKey(name))
	if err != nil {
		return head, fmt.Errorf("read calendar copy: %w", err)
	}
	return head, nil
}

// content reads the blobs of a copy.
func (u *User) content(ctx context.Context, name string, ids []uint64) (io.Reader, error) {
	var parts []io.Reader
	for chunk := range slices.Chunk(ids, callBlobs) {
		blobs, err := durable.Call(ctx, u.cacheStub(), (*calcache.Cache).ReadBlobs,
			calcache.BlobRequest{Key: u.copyKey(name), IDs: chunk})
		if err != nil {
			return nil, fmt.Errorf("read calendar copy: %w", err)
		}
		for _, b := range blobs {
			if b == nil {
				return nil, errReplaced
			}
			parts = append(parts, bytes.NewReader(b))
		}
	}
	return io.MultiReader(parts...), nil
}

// stage stores content and returns its blobs.
func (u *User) stage(ctx context.Context, name string, content []byte) ([]uint64, error) {
	var ids []uint64
	for chunk := range slices.Chunk(slices.Collect(slices.Chunk(content, maxBlob)), callBlobs) {
		some, err := durable.Call(ctx, u.cacheStub(), (*calcache.Cache).Stage,
			calcache.StageRequest{Key: u.copyKey(name), Blobs: chunk})
		if err != nil {
			return nil, fmt.Errorf("write calendar copy: %w", err)
		}
		ids = append(ids, some...)
	}
	return ids, nil
}

func (u *User) commit(ctx context.Context, req calcache.CommitRequest) (uint64, error) {
	version, err := durable.Call(ctx, u.cacheStub(), (*calcache.Cache).Commit, req)
	if err != nil {
		return 0, fmt.Errorf("write calendar copy: %w", err)
	}
	return version, nil
}

func (u *User) markChecked(ctx context.Context, name string, version uint64, at time.Time) error {
	err := durable.Exec(ctx, u.cacheStub(), (*calcache.Cache).Check,
		calcache.CheckRequest{Key: u.copyKey(name), Version: version, Checked: at.UnixMilli()})
	if err != nil {
		return fmt.Errorf("write calendar copy: %w", err)
	}
	return nil
}

func (u *User) patch(ctx context.Context, name string, version uint64, blob []byte) (uint64, error) {
	version, err := durable.Call(ctx, u.cacheStub(), (*calcache.Cache).Patch,
		calcache.PatchRequest{Key: u.copyKey(name), Version: version, Blob: blob})
	if err != nil {
		return 0, fmt.Errorf("write calendar copy: %w", err)
	}
	return version, nil
}

func (u *User) drop(ctx context.Context, name string) error {
	if err := durable.Exec(ctx, u.cacheStub(), (*calcache.Cache).Drop, u.copyKey(name)); err != nil {
		return fmt.Errorf("drop calendar copy: %w", err)
	}
	return nil
}

// load returns the head of a calendar's copy and its image; nil if there is no copy, or
// it is of another source. A copy that can't be decoded is none: it will be replaced.
func (u *User) load(ctx context.Context, source, href string) (calcache.Copy, *image, error) {
	key := imageKey{u.id, href}
	for range 4 {
		head, err := u.head(ctx, eventsKey+href)
		if err != nil || head.Version == 0 {
			return head, nil, err
		}
		img := u.svc.images.get(key)
		if img == nil || img.version != head.Version {
			if img, err = u.readImage(ctx, href, head); errors.Is(err, errReplaced) {
				continue
			} else if err != nil {
				return head, nil, err
			}
			if img != nil {
				u.svc.images.put(key, img)
			}
		}
		if img == nil || img.note.Source != source {
			return head, nil, nil
		}
		return head, img, nil
	}
	return calcache.Copy{}, nil, errReplaced
}

func (u *User) readImage(ctx context.Context, href string, head calcache.Copy) (*image, error) {
	content, err := u.content(ctx, eventsKey+href, head.Blobs)
	if err != nil {
		return nil, err
	}
	var note copyNote
	objects, dead, err := decodeObjects(content)
	if err == nil {
		err = cbor.Unmarshal(head.Note, &note)
	}
	if err != nil {
		u.svc.opts.Logger.WarnContext(ctx, "calendar copy can't be read", "href", href, "err", err)
		return nil, nil
	}
	return newImage(head.Version, note, objects, dead), nil
}
