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
//
// Where several nodes share a store, each adds to the saved number what has changed
// in its own hands, and learns of the others' changes by that: at most a second late
// while it writes itself, and ten seconds while it does not. Nobody knows there which
// shutdown was the last orderly one, so one of the nodes adds up the sizes once a day.

const totalsKey = "totals"

// totals is the record under totalsKey.
type totals struct {
	Clean   bool             `json:"clean"`             // written by an orderly shutdown of the only runtime
	Bytes   map[uint32]int64 `json:"bytes"`             // by namespace number
	Counted int64            `json:"counted,omitempty"` // where several share the store: when the sizes were last added up, Unix seconds
}

const (
	pullTotals = 10 // seconds between looks at what others have saved
	countAgain = 24 * time.Hour
)

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
	if rt.opts.Placement != nil {
		return false, nil // see shareTotals
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
	for n := 0; ; n++ {
		if rt.opts.Placement != nil && n%pullTotals == 0 && rt.claimsCount() {
			rt.recount()
		}
		select {
		case <-tick.C:
			if rt.opts.Placement != nil {
				rt.shareTotals(n%pullTotals == 0)
			} else {
				rt.saveTotals(false)
			}
		case <-rt.life.Done():
			return
		}
	}
}

// shareTotals adds what has changed here to the saved totals and takes over what has
// changed elsewhere; without changes here only if pull is set.
func (rt *Runtime) shareTotals(pull bool) {
	rt.saving.Lock()
	defer rt.saving.Unlock()
	grown := make([]int64, len(rt.classes))
	for i, n := range rt.classes {
		grown[i] = n.total.Load() - n.saved
		pull = pull || grown[i] != 0
	}
	if !pull {
		return
	}
	var t totals
	err := updateTotals(rt.store, func(now *totals) {
		for i, n := range rt.classes {
			now.Bytes[n.number] += grown[i]
		}
		t = *now
	})
	if err != nil {
		if rt.life.Err() == nil {
			rt.log.Error("totals cannot be shared", "error", rt.storeFailed("share totals", err))
		}
		return
	}
	for i, n := range rt.classes {
		shared := t.Bytes[n.number]
		n.total.Add(shared - n.saved - grown[i])
		n.saved = shared
	}
}

// claimsCount reports whether it is this node's turn to add up the sizes.
func (rt *Runtime) claimsCount() bool {
	now := time.Now()
	claimed := false
	err := updateTotals(rt.store, func(t *totals) {
		claimed = now.Sub(time.Unix(t.Counted, 0)) > countAgain
		if claimed {
			t.Counted = now.Unix()
		}
	})
	return err == nil && claimed
}

// saveTotals writes the totals if they have changed, or if these are the last.
func (rt *Runtime) saveTotals(last bool) {
	if rt.opts.Placement != nil {
		rt.shareTotals(last)
		return
	}
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
	return updateTotals(rt.store, func(t *totals) {
		t.Clean = clean
		for _, n := range rt.classes {
			t.Bytes[n.number] = n.saved
		}
	})
}

func updateTotals(s store.Store, change func(t *totals)) error {
	return updateMeta(s, totalsKey, func(old []byte) ([]byte, error) {
		var t totals
		if old != nil {
			if err := json.Unmarshal(old, &t); err != nil {
				return nil, err
			}
		}
		if t.Bytes == nil {
			t.Bytes = make(map[uint32]int64)
		}
		change(&t)
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
