package pgstore

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perdure/perdure/store"
)

// One statement carries batches of a shard that is held, one that is not any more, and
// one that never was: each ends as its shard deserves.
func TestStatementAppliesWhatIsHeld(t *testing.T) {
	var mu sync.Mutex
	lost := map[uint32]int64{}
	a := newStore(t, Options{Committers: 1, Lost: func(shard uint32, epoch int64) {
		mu.Lock()
		defer mu.Unlock()
		lost[shard] = epoch
	}})
	for n := range uint32(4) {
		a.create(a.in(n, 0))
	}
	b := joinStore(t, Options{}, a.server, a.name)
	a.exec(`UPDATE perdure.nodes SET ended = true WHERE id = $1`, a.node)
	epoch := a.epochs(1)[1]
	b.take(1)

	release := a.blockKeys()
	first := a.set(a.in(0, 0), "slow", "x")
	a.until("the first statement runs", blocked)
	held, gone, foreign := a.set(a.in(2, 0), "k", "held"), a.set(a.in(1, 0), "k", "lost"), a.set(a.in(3, 0), "k", "held")
	release()
	wantDone(t, "the first", first)
	wantDone(t, "a shard that is held", held)
	wantDone(t, "another", foreign)
	wantRefused(t, "a shard that was taken over", gone)
	a.want(a.in(2, 0), "k", "held")
	b.want(a.in(1, 0), "k", "")
	mu.Lock()
	if len(lost) != 1 || lost[1] != epoch {
		t.Errorf("Lost was told %v, want shard 1 with epoch %d", lost, epoch)
	}
	mu.Unlock()
	if _, held := a.Held(1); held {
		t.Error("the store still believes that it holds the shard")
	}
	wantRefused(t, "the same shard again", a.set(a.in(1, 0), "k", "lost"))
	a.Release(2)
	wantRefused(t, "a shard that was released", a.set(a.in(2, 0), "k", "lost"))
}

// A commit that holds its fence makes a take-over wait, which then sees it.
func TestTakeOverWaitsForCommits(t *testing.T) {
	a := newStore(t, Options{})
	o := a.in(5, 0)
	a.create(o)
	b := joinStore(t, Options{}, a.server, a.name)
	a.exec(`UPDATE perdure.nodes SET ended = true WHERE id = $1`, a.node)
	expect := a.epochs(5)
	release := a.blockKeys()
	c := a.set(o, "slow", "written")
	a.until("the commit runs", blocked)
	type result struct {
		taken map[uint32]int64
		err   error
	}
	done := make(chan result)
	go func() {
		taken, err := b.d().TakeOver(ctx, b.node, expect)
		done <- result{taken, err}
	}()
	a.until("the take-over waits", rowWaiter)
	release()
	r := <-done
	if r.err != nil || r.taken[5] != expect[5]+1 {
		t.Fatalf("TakeOver = %v, %v", r.taken, r.err)
	}
	wantDone(t, "the old owner's commit", c)
	b.want(o, "slow", "written")
	// And the other way round: who waits for a take-over is refused after it.
	b.Hold(5, r.taken[5])
	wantRefused(t, "the old owner's next commit", a.set(o, "k", "stale"))
	b.want(o, "k", "")
}

// A stale statement that already waits for the row when it is taken over is refused.
func TestStaleStatementWaitsForTakeOver(t *testing.T) {
	a := newStore(t, Options{})
	o := a.in(5, 0)
	a.create(o)
	tx, err := a.db.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, `UPDATE perdure.shards SET epoch = epoch + 1 WHERE shard = 5`); err != nil {
		t.Fatal(err)
	}
	c := a.set(o, "k", "stale")
	until(t, "the commit waits", func() bool {
		var n int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity, pg_stat_clear_snapshot() WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n == 1
	})
	if err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	wantRefused(t, "the statement that waited", c)
	a.want(o, "k", "")
}

// A batch that the database refuses for what is in it fails alone, with those that name
// it, whatever else was in its statement.
func TestBadBatchFailsAlone(t *testing.T) {
	s := newStore(t, Options{Committers: 1})
	for n := range uint32(6) {
		s.create(s.in(n, 0))
	}
	release := s.blockKeys()
	first := s.set(s.in(0, 0), "slow", "x")
	s.until("the first statement runs", blocked)
	// Too long for a page of an index, and it must not shrink.
	var long strings.Builder
	for i := range 20000 {
		long.WriteByte(byte(i * i >> 3 * 31))
	}
	good := []store.Commit{s.set(s.in(1, 0), "k", "v"), s.set(s.in(2, 0), "k", "v")}
	bad := s.set(s.in(3, 0), long.String(), "v")
	follower := s.Apply(&store.Batch{Object: s.in(3, 0), Prev: testHeader, Header: testHeader, After: bad, Ops: []store.Op{{Key: "k", Value: []byte("v")}}})
	sameShard := s.Apply(&store.Batch{Object: s.in(3, 1), Header: testHeader, Ops: []store.Op{{Key: "k", Value: []byte("v")}}})
	good = append(good, sameShard, s.set(s.in(4, 0), "k", "v"))
	release()
	wantDone(t, "the first", first)
	for _, c := range good {
		wantDone(t, "a good batch beside a bad one", c)
	}
	wantRefused(t, "the bad batch", bad)
	wantRefused(t, "the one that follows it", follower)
	s.want(s.in(3, 0), "k", "")
	s.want(s.in(3, 1), "k", "v")
	wantDone(t, "the object's next batch", s.set(s.in(3, 0), "k", "w"))
}

// A batch that takes too long is given up, and those that were in its statement are not.
func TestSlowBatchFailsAlone(t *testing.T) {
	for name, wait := range map[string]string{
		"lock timeout":      "pg_advisory_xact_lock_shared(42)",
		"statement timeout": "pg_sleep(60)",
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, Options{Committers: 1, Lease: 4 * time.Second})
			for n := range uint32(5) {
				s.create(s.in(n, 0))
			}
			release := s.blockKeys()
			s.exec(`CREATE OR REPLACE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
				IF NEW.key = 'slow' THEN PERFORM pg_advisory_xact_lock_shared(42); END IF;
				IF NEW.key = 'slower' THEN PERFORM ` + wait + `; END IF;
				RETURN NEW; END $$`)
			first := s.set(s.in(0, 0), "slow", "x")
			s.until("the first statement runs", blocked)
			a, slow, b := s.set(s.in(1, 0), "k", "v"), s.set(s.in(2, 0), "slower", "v"), s.set(s.in(3, 0), "k", "v")
			if name == "statement timeout" {
				release()
				wantDone(t, "the first", first)
			} else {
				wantRefused(t, "the first", first)
			}
			wantRefused(t, "a batch that takes too long", slow)
			wantDone(t, "one before it", a)
			wantDone(t, "one behind it", b)
		})
	}
}

// What waits is bounded by number and by bytes; more is refused at once, and the bound
// is of what waits, not of what has been.
func TestAdmission(t *testing.T) {
	for name, opts := range map[string]Options{
		"batches": {MaxPending: 10, Committers: 1},
		"bytes":   {MaxPendingBytes: 10 << 10, Committers: 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, opts)
			o := s.in(0, 0)
			s.create(o)
			release := s.blockKeys()
			for range 2 {
				commits := []store.Commit{s.set(o, "slow", "x")}
				s.until("the first statement runs", blocked)
				for range 30 {
					commits = append(commits, s.set(o, "k", strings.Repeat("v", 1000)))
				}
				wantRefused(t, "a batch over the bound", commits[len(commits)-1])
				release()
				refused := 0
				for _, c := range commits {
					if err := c.Wait(); errors.Is(err, store.ErrRefused) {
						refused++
					} else if err != nil {
						t.Errorf("Wait() = %v", err)
					}
				}
				if refused < 20 || refused > 23 {
					t.Errorf("%d of 31 batches were refused, want about 21", refused)
				}
				s.exec(`SELECT pg_advisory_lock(42)`)
			}
			s.exec(`SELECT pg_advisory_unlock(42)`)
		})
	}
}
