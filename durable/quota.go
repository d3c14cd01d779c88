package durable

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/perdure/perdure/store"
)

// Quotas are approximate by design: each object's size is exact in its header,
// but the total of a namespace is a number in memory, which no commit reads from or
// writes to the store. It is saved every second while it changes. After a crash the
// saved number may miss the last second's writes; then, and only then, the sizes
// are added up again in the background, so that errors of many crashes do not add up.

const totalsKey = "totals"

// totals is the record under totalsKey.
type totals struct {
	Clean bool             `json:"clean"` // written by an orderly shutdown
	Bytes map[uint32]int64 `json:"bytes"` // by namespace number
}

// loadTotals reads the saved totals and reports whether they have to be counted again.
func (rt *Runtime) loadTotals() (recount bool, err error) {
	data, err := rt.store.Meta(rt.life, totalsKey)
	if err != nil {
		return false, storeError("read totals", err)
	}
	var t totals
	if data != nil {
		if err := json.Unmarshal(data, &t); err != nil {
			return false, fmt.Errorf("durable: record %q: %w", totalsKey, err)
		}
	}
	for _, n := range rt.classes {
		n.saved = t.Bytes[n.number]
		n.total.Store(n.saved)
	}
	if !t.Clean { // or never written: the first run may have crashed within its first second
		return true, nil
	}
	return false, rt.writeTotals(false)
}

// keepTotals saves the totals while the runtime lives.
func (rt *Runtime) keepTotals(recount bool) {
	if recount {
		rt.recount()
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			rt.saveTotals(false)
		case <-rt.life.Done():
			return
		}
	}
}

// saveTotals writes the totals if they have changed, or if these are the last.
func (rt *Runtime) saveTotals(last bool) {
	rt.saving.Lock()
	defer rt.saving.Unlock()
	changed := last
	for _, n := range rt.classes {
		if t := n.total.Load(); t != n.saved {
			n.saved = t
			changed = true
		}
	}
	if !changed {
		return
	}
	if err := rt.writeTotals(last); err != nil && rt.life.Err() == nil {
		rt.log.Error("totals cannot be saved", "error", rt.storeFailed("save totals", err))
	}
}

func (rt *Runtime) writeTotals(clean bool) error {
	return updateMeta(rt.store, totalsKey, func(old []byte) ([]byte, error) {
		t := totals{Bytes: make(map[uint32]int64)}
		if old != nil {
			if err := json.Unmarshal(old, &t); err != nil {
				return nil, err
			}
		}
		t.Clean = clean
		for _, n := range rt.classes {
			t.Bytes[n.number] = n.saved
		}
		return json.Marshal(t)
	})
}

// recount corrects the totals by what the headers say.
func (rt *Runtime) recount() {
	for _, n := range rt.classes {
		before := n.total.Load()
		var sum int64
		err := rt.store.Objects(rt.life, n.number, [32]byte{}, func(_ [32]byte, h *store.Header) bool {
			sum += h.Size
			return rt.life.Err() == nil
		})
		if rt.life.Err() != nil {
			return
		}
		if err != nil {
			rt.log.Error("sizes cannot be read", "class", n.class.name, "error", rt.storeFailed("recount", err))
			return
		}
		n.total.Add(sum - before) // what changed since, it knows itself
	}
}
