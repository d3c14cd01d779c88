package durabletest

import (
	"testing"

	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/memstore"
)

func TestEngine(t *testing.T) {
	ctx := t.Context()
	e := &engine{Store: memstore.New(nil)}
	o := store.Object{Namespace: 1}
	h := &store.Header{Alarm: store.Alarm{Due: 1, Next: 1}}
	if err := e.Apply(&store.Batch{Object: o, Header: h}).Wait(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{0, 1} {
		if due, err := e.Alarms(ctx, nil, 9); len(due) != want || err != nil {
			t.Errorf("Alarms = %v, %v, want %d: none before the clock is set", due, err, want)
		}
		e.clockSet.Store(true)
	}
	for range 2 {
		if err := e.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	}
	if l, err := e.left.Load(ctx, o); err != nil || l.Header == nil || *l.Header != *h {
		t.Errorf("Load after Close = %v, %v, want the header", l, err)
	}
}
