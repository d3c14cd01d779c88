package durable

import (
	"context"
	"iter"
	"time"

	"github.com/perdure/perdure/store"
)

// ObjectInfo is what the store's registry knows of an object that has data.
type ObjectInfo struct {
	ID    ID
	Name  string // if Named
	Named bool
	Size  int64     // bytes of keys and values
	Alarm time.Time // when its alarm is due; zero if none is set
}

// Objects returns the objects that have data, in the order of their ids, from the
// one after the given id on; the zero ID begins at the first. Objects appear with
// their first write and leave with DeleteAll; what is not durable yet is not shown.
func (n *Namespace) Objects(ctx context.Context, after ID) iter.Seq2[ObjectInfo, error] {
	rt := n.known().rt
	return func(yield func(ObjectInfo, error) bool) {
		if err := rt.broken(); err != nil {
			yield(ObjectInfo{}, err)
			return
		}
		err := rt.store.Objects(ctx, n.n.number, after.b, func(id [32]byte, h *store.Header) bool {
			info := ObjectInfo{ID: ID{n.n.number, id}, Name: h.Name, Named: h.Named, Size: h.Size}
			if h.Alarm.Due != 0 {
				info.Alarm = time.UnixMilli(h.Alarm.Due)
			}
			return yield(info, nil)
		})
		if err != nil {
			yield(ObjectInfo{}, rt.storeFailed("objects of "+n.n.class.name, err))
		}
	}
}

// Names returns the names of the objects that have data and a known name that
// begins with prefix, in the order of bytes, from the one after the given name on,
// if that is not nil. Of the information only ID and Name are filled in.
func (n *Namespace) Names(ctx context.Context, prefix string, after *string) iter.Seq2[ObjectInfo, error] {
	rt := n.known().rt
	return func(yield func(ObjectInfo, error) bool) {
		if err := rt.broken(); err != nil {
			yield(ObjectInfo{}, err)
			return
		}
		err := rt.store.Names(ctx, n.n.number, prefix, after, func(name string, id [32]byte) bool {
			return yield(ObjectInfo{ID: ID{n.n.number, id}, Name: name, Named: true}, nil)
		})
		if err != nil {
			yield(ObjectInfo{}, rt.storeFailed("names of "+n.n.class.name, err))
		}
	}
}
