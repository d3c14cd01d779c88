package pgstore

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLeases(t *testing.T) {
	s := newStore(t, Options{Shards: 4}) // s.node holds all four
	d := s.d()
	a := s.node
	n, err := d.Register(ctx, "b", "10.0.0.1:7000", []byte("stats"))
	must(t, err)
	b := n.ID
	if b <= a || n.Name != "b" || n.Address != "10.0.0.1:7000" || n.Lease != s.Lease() || n.Beat != 0 || n.Ended || n.Draining || string(n.Stats) != "stats" {
		t.Errorf("Register = %+v", n)
	}
	all := s.epochs(0, 1, 2, 3)
	takeOver := func(me int64, expect map[uint32]int64) map[uint32]int64 {
		t.Helper()
		taken, err := d.TakeOver(ctx, me, expect)
		must(t, err)
		return taken
	}
	if got := takeOver(b, all); len(got) != 0 {
		t.Errorf("TakeOver of what a living node holds = %v", got)
	}
	// A renewal between the look and the end saves the node.
	v, err := d.Renew(ctx, a, []byte("new"), 0)
	must(t, err)
	if len(v.Shards) != 4 || len(v.Nodes) != 2 || v.Nodes[0].Beat != 1 || string(v.Nodes[0].Stats) != "new" {
		t.Errorf("Renew = %+v", v)
	}
	if ended, err := d.EndNode(ctx, a, 0); err != nil || ended {
		t.Errorf("EndNode with an old beat = %v, %v", ended, err)
	}
	// Shards that changed since a version are shown, no others.
	released, err := d.ReleaseShards(ctx, a, map[uint32]int64{1: all[1], 2: all[2] + 7})
	if err != nil || !slices.Equal(released, []uint32{1}) {
		t.Errorf("ReleaseShards = %v, %v, want shard 1", released, err)
	}
	delta, err := d.Renew(ctx, a, nil, v.Version)
	must(t, err)
	if want := []ShardState{{Shard: 1, Epoch: all[1] + 1}}; !cmp.Equal(delta.Shards, want) || delta.Version <= v.Version {
		t.Errorf("Renew since version %d = %+v, want %+v", v.Version, delta, want)
	}
	if got := takeOver(b, map[uint32]int64{1: all[1], 0: all[0]}); len(got) != 0 {
		t.Errorf("TakeOver with an old epoch = %v", got)
	}
	if got := takeOver(b, map[uint32]int64{1: all[1] + 1, 0: all[0]}); !cmp.Equal(got, map[uint32]int64{1: all[1] + 2}) {
		t.Errorf("TakeOver of a free shard = %v, want epoch %d", got, all[1]+2)
	}
	lost, err := d.ConfirmEpochs(ctx, a, map[uint32]int64{0: all[0], 1: all[1], 2: all[2] - 1, 3: all[3]})
	if err != nil || !slices.Equal(lost, []uint32{1, 2}) {
		t.Errorf("ConfirmEpochs = %v, %v, want 1 and 2", lost, err)
	}
	if found, err := d.SetDraining(ctx, a, true); err != nil || !found {
		t.Errorf("SetDraining = %v, %v", found, err)
	}
	v, err = d.Renew(ctx, a, nil, v.Version)
	if err != nil || !v.Nodes[0].Draining {
		t.Errorf("Renew of a node that is draining = %+v, %v", v.Nodes, err)
	}
	if ended, err := d.EndNode(ctx, a, v.Nodes[0].Beat); err != nil || !ended {
		t.Errorf("EndNode = %v, %v", ended, err)
	}
	if _, err := d.Renew(ctx, a, nil, v.Version); !errors.Is(err, ErrEnded) {
		t.Errorf("Renew of a node that was ended = %v, want ErrEnded", err)
	}
	if got := takeOver(a, map[uint32]int64{0: all[0]}); len(got) != 0 {
		t.Errorf("TakeOver by a node that was ended = %v", got)
	}
	if got := takeOver(b, all); len(got) != 3 || got[0] != all[0]+1 {
		t.Errorf("TakeOver of what an ended node held = %v, want three", got)
	}
	if _, err := d.TakeOver(ctx, b, nil); err != nil {
		t.Errorf("TakeOver of nothing = %v", err)
	}
	view, err := d.ReadMap(ctx)
	must(t, err)
	for _, st := range view.Shards {
		if st.Owner != b {
			t.Errorf("shard %d belongs to %d, want %d", st.Shard, st.Owner, b)
		}
	}
}

// Take-overs that wait for locks, more of them than there are connections, do not keep a
// lease from being renewed.
func TestRenewalsWaitForNothing(t *testing.T) {
	s := newStore(t, Options{Shards: 16})
	d, epochs := s.d(), s.epochs(0)
	tx, err := d.reads.Begin(ctx)
	must(t, err)
	defer tx.Rollback(ctx)
	_, err = tx.Exec(ctx, `SELECT FROM perdure.store FOR UPDATE`)
	must(t, err)
	waiting := make(chan error, 2*leaseConns)
	for range cap(waiting) {
		go func() {
			_, err := d.TakeOver(ctx, s.node, epochs)
			waiting <- err
		}()
	}
	s.until("all connections wait", `SELECT count(*) = $1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`, leaseConns)
	if _, err := d.Renew(ctx, s.node, nil, 0); err != nil {
		t.Error(err)
	}
	if len(waiting) > 0 {
		t.Error("the renewal came after take-overs that waited for a lock")
	}
	must(t, tx.Rollback(ctx))
	for range cap(waiting) {
		<-waiting
	}
}
