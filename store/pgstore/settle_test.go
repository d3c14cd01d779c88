package pgstore

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/pgstore/pgtest"
)

// once has a fate come over the first commit only.
func once(f pgtest.Fate) func(int) pgtest.Fate {
	return func(n int) pgtest.Fate {
		if n == 1 {
			return f
		}
		return pgtest.Pass
	}
}

// The connection is cut while the backend still executes: the commit has no end until the
// backend has one.
func TestCutWhileExecuting(t *testing.T) {
	s := newStore(t, Options{})
	o := s.in(1, 0)
	s.create(o)
	release := s.blockKeys()
	var sent atomic.Int64
	cut := make(chan bool)
	s.atCommit(func(n int) pgtest.Fate {
		sent.Add(1)
		if n > 1 {
			return pgtest.Pass
		}
		s.until("the statement runs", blocked)
		close(cut)
		return pgtest.Last
	})
	c := s.set(o, "slow", "v")
	<-cut
	s.until("the settlement waits for the statement", rowWaiter)
	if !pendingCommit(c) {
		t.Fatalf("the commit has ended with %v while its statement runs", c.Wait())
	}
	release()
	wantDone(t, "a commit that was applied", c)
	if n := sent.Load(); n != 1 {
		t.Errorf("the statement was sent %d times", n)
	}
	s.want(o, "slow", "v")
	var n int
	if err := s.db.QueryRow(ctx, `SELECT settled FROM perdure.shards WHERE shard = 1`).Scan(&n); err != nil || n != 1 {
		t.Errorf("the shard was settled %d times (%v), want once", n, err)
	}
	wantDone(t, "the next commit", s.set(o, "k", "w"))
}

// The backend dies before it commits: the batch is not there, and is sent again.
func TestTerminatedWhileExecuting(t *testing.T) {
	s := newStore(t, Options{})
	o := s.in(1, 0)
	s.create(o)
	release := s.blockKeys()
	c := s.set(o, "slow", "v")
	s.until("the statement runs", blocked)
	s.exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'`)
	s.until("it runs again", blocked+` AND (SELECT settled = 1 FROM perdure.shards WHERE shard = 1)`)
	release()
	wantDone(t, "a commit that was sent again", c)
	s.want(o, "slow", "v")
}

// A statement that arrives after its outcome was settled changes nothing any more.
func TestLateStatement(t *testing.T) {
	s := newStore(t, Options{})
	o := s.in(1, 0)
	s.create(o)
	var session int32
	var before time.Time
	if err := s.db.QueryRow(ctx, `SELECT pid, clock_timestamp() FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%perdure.commits%' AND pid <> pg_backend_pid()`).Scan(&session, &before); err != nil {
		t.Fatal(err)
	}
	commits := 0
	s.proxy.Hook(func(m pgtest.Message) pgtest.Fate {
		if m.IsCancel() {
			return pgtest.Drop
		}
		if m.Type == 'B' && bytes.HasPrefix(m.Body, []byte("\x00"+commitName)) {
			if commits++; commits == 1 {
				return pgtest.Late
			}
		}
		return pgtest.Pass
	})
	wantDone(t, "a commit whose statement is late, sent again", s.set(o, "k", "1"))
	wantDone(t, "the next commit", s.set(o, "k", "2"))
	s.proxy.Deliver()
	s.until("the late statement has been executed", `SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = $1 AND state = 'idle' AND state_change > $2`, session, before)
	s.want(o, "k", "2")
	var number int64
	if err := s.db.QueryRow(ctx, `SELECT max(number) FROM perdure.commits`).Scan(&number); err != nil || number < 4 {
		t.Errorf("the last number is %d (%v): the late statement has set it back", number, err)
	}
}

// A statement whose end the server never gets has been executed and keeps the rows of
// its shards: its session is ended, by who settles and by who takes over.
func TestUnfinishedStatement(t *testing.T) {
	for _, test := range []struct {
		name string
		rest func(t *testing.T, s *testStore, c store.Commit)
	}{
		{"settle", func(t *testing.T, s *testStore, c store.Commit) {
			wantDone(t, "a commit that is sent again", c)
		}},
		{"take over", func(t *testing.T, s *testStore, c store.Commit) {
			s.proxy.Cut() // who was cut off cannot settle
			other := joinStore(t, Options{Lease: 8 * time.Second}, s.server, s.name)
			s.exec(`UPDATE perdure.nodes SET ended = true WHERE id = $1`, s.node)
			other.take(1)
			if _, held := other.Held(1); !held {
				t.Error("the shard was not taken over")
			}
			s.Release(1)
			// It may have been settled, and sent again with any end, before it was cut off.
			switch err := c.Wait(); {
			case err == nil:
				other.want(s.in(1, 0), "k", "v")
			case errors.Is(err, store.ErrRefused):
				other.want(s.in(1, 0), "k", "")
			case !errors.Is(err, store.ErrUnknown):
				t.Errorf("Wait() = %v, want ErrUnknown, ErrRefused or success", err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStore(t, Options{Lease: 8 * time.Second})
			o := s.in(1, 0)
			s.create(o)
			held := make(chan bool)
			s.atCommit(func(n int) pgtest.Fate {
				if n == 1 {
					// The rest has been passed on. The client is cut off once it is executed.
					s.until("it is executed", `SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database()
						AND query LIKE '%perdure.commits%' AND state = 'active' AND wait_event = 'ClientRead' AND backend_xid IS NOT NULL`)
					close(held)
					return pgtest.Late
				}
				return pgtest.Pass
			})
			c := s.set(o, "k", "v")
			<-held
			test.rest(t, s, c)
		})
	}
}

// What cannot be settled in time is unknown; the next Load settles it first.
func TestUnknownUntilLoad(t *testing.T) {
	s := newStore(t, Options{Patience: 100 * time.Millisecond})
	o := s.in(1, 0)
	s.create(o)
	release := s.blockKeys()
	s.atCommit(once(pgtest.Last))
	c := s.set(o, "slow", "v")
	s.until("the statement runs", blocked)
	s.proxy.Cut() // so that it cannot be settled
	if err := c.Wait(); !errors.Is(err, store.ErrUnknown) {
		t.Fatalf("Wait() = %v, want ErrUnknown", err)
	}
	s.proxy.Heal()
	loaded := make(chan error)
	go func() {
		l, err := s.Load(ctx, o)
		if err == nil && (len(l.Entries) != 1 || string(l.Entries[0].Value) != "v") {
			err = errors.New("Load does not show what was written before it returned")
		}
		loaded <- err
	}()
	s.until("Load waits for the statement", rowWaiter)
	select {
	case err := <-loaded:
		t.Fatalf("Load = %v while the statement runs", err)
	default:
	}
	release()
	if err := <-loaded; err != nil {
		t.Error(err)
	}
	wantDone(t, "the next commit", s.set(o, "k", "w"))
}

// A shard that is given up while its outcome is unknown ends as unknown without delay.
func TestReleasedWhileUnknown(t *testing.T) {
	s := newStore(t, Options{})
	o := s.in(1, 0)
	s.create(o)
	release := s.blockKeys()
	defer release()
	s.atCommit(once(pgtest.Last))
	c := s.set(o, "slow", "v")
	s.until("the statement runs", blocked)
	s.proxy.Cut()
	s.Release(1)
	if err := c.Wait(); !errors.Is(err, store.ErrUnknown) {
		t.Errorf("Wait() = %v, want ErrUnknown", err)
	}
}

// A wait for synchronous replicas that is broken off is not success, although the server
// says so.
func TestBrokenOffReplication(t *testing.T) {
	server := pgtest.New(t)
	s := joinStore(t, Options{}, server, server.NewDatabase(t))
	o := s.in(1, 0)
	s.create(o)
	reload := func(names string) {
		s.exec(`ALTER SYSTEM SET synchronous_standby_names = '` + names + `'`)
		s.exec(`SELECT pg_reload_conf()`)
	}
	s.exec(`SET synchronous_commit = local`)
	reload("nobody")
	s.until("the setting is there", `current_setting('synchronous_standby_names') = 'nobody'`)
	c := s.set(o, "k", "v")
	const waiting = `SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE '%perdure.commits%'`
	s.until("the commit waits for a replica", waiting)
	s.exec(`SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE '%perdure.commits%'`)
	s.until("the settlement waits for a replica", `SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND lower(query) = 'commit'`)
	if !pendingCommit(c) {
		t.Errorf("the commit has ended with %v, but no replica has it", c.Wait())
	}
	// Nor is that of the settlement.
	s.exec(`SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND lower(query) = 'commit'`)
	until(t, "the settlement is tried again", func() bool {
		var again bool
		if err := s.db.QueryRow(ctx, `SELECT (SELECT settled > 0 FROM perdure.shards WHERE shard = 1) AND
			EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND lower(query) = 'commit') FROM pg_sleep(0.01)`).Scan(&again); err != nil {
			t.Fatal(err)
		}
		return again || !pendingCommit(c)
	})
	if !pendingCommit(c) {
		t.Errorf("the commit has ended with %v after a settlement that no replica has", c.Wait())
	}
	reload("")
	wantDone(t, "the commit", c)
	s.want(o, "k", "v")
}

// The server crashes under load and comes back: nothing that was acknowledged is lost,
// and with patience nobody sees an error.
func TestServerCrash(t *testing.T) {
	server := pgtest.New(t)
	s := joinStore(t, Options{Lease: time.Minute}, server, server.NewDatabase(t))
	const writers = 16
	var acked [writers]int
	life, cancel := context.WithCancel(ctx)
	done := make(chan int)
	for g := range writers {
		s.create(s.in(uint32(g%16), g/16))
		go func() {
			defer func() { done <- g }()
			for i := 1; life.Err() == nil; i++ {
				if err := s.set(s.in(uint32(g%16), g/16), "n", string(rune('a'+i%26))).Wait(); err != nil {
					t.Errorf("Wait() = %v", err)
					return
				}
				acked[g] = i
			}
		}()
	}
	for range 2 {
		s.until("there is load", `SELECT sum(number) > 20 FROM perdure.commits`)
		if err := server.Stop("immediate"); err != nil {
			t.Error(err)
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		s.db = server.Connect(t, s.name)
		var before int64
		if err := s.db.QueryRow(ctx, `SELECT sum(number) FROM perdure.commits`).Scan(&before); err != nil {
			t.Fatal(err)
		}
		s.until("commits go on", `SELECT sum(number) > $1 + 20 FROM perdure.commits`, before)
	}
	cancel()
	for range writers {
		<-done
	}
	for g, n := range acked {
		if n == 0 {
			t.Errorf("writer %d committed nothing", g)
			continue
		}
		s.want(s.in(uint32(g%16), g/16), "n", string(rune('a'+n%26)))
	}
}
