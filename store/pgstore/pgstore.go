// Package pgstore is the storage engine on PostgreSQL, for clusters of many nodes.
//
// # What is where
//
// Objects hash onto a fixed number of shards ([Store.ShardOf]), and shards are spread
// over one or more databases. A shard's objects, its epoch and its owner lie in the same
// database, so that a commit and the right to make it are one transaction. Nodes, leases
// and epochs of a database are kept by the methods of [Database], with which package
// cluster decides who holds what.
//
// # Commits
//
// Each shard belongs to one committer of its database, which sends one statement at a
// time: everything that came in while the one before was under way. A statement is a
// transaction of its own. It locks the rows of its shards in ascending order, applies
// exactly the batches whose shard still has the epoch that they were made under, and
// says which.
//
// # When the outcome is unknown
//
// A connection that breaks while a statement is under way leaves open whether it was, or
// yet will be, applied: PostgreSQL goes on with what it has received. It is settled in
// one transaction that first makes it impossible, by raising the shards' number of
// settlements, for which it waits for a statement that holds their rows; and then reads
// the number of the last statement that was applied.
//
// # Invariants
//
//  1. A batch is in the database only if its shard was held under the epoch of its Apply
//     when the statement ran.
//  2. At most one statement of a shard and epoch is under way.
//  3. A batch that is ErrRefused was not applied and cannot be any more; one that is
//     ErrUnknown cannot be any more when the next Load of its object returns.
//  4. What a database does or fails to do concerns its own shards alone.
package pgstore

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/perdure/perdure/store"
)

// Options of Open. The zero value of a field is the default.
type Options struct {
	// Shards is the number of shards of a new store, at most 65,536. Default 1,024.
	// A store that exists keeps its own, whatever this says.
	Shards int

	// Standalone says that no cluster decides who holds what: Open takes all shards, and
	// returns store.ErrInUse if another process holds some. If another process has taken
	// the lease, which it may when that has not been renewed in time, the store is broken.
	// Commits are refused from the moment on; that what is read is out of date is noticed
	// with the next renewal only, or by who looks when the last one was: see Renewing.
	// Without Standalone no shard is held until Hold says so.
	Standalone bool

	// Renewing is called, with Standalone, before a renewal of the lease on a database is
	// sent, by the database's index, and the function that it returns when that has
	// succeeded. The lease that Open begins with counts as one. Package cluster's Alone
	// measures with it how long what has been read may be answered. Default: nobody is told.
	Renewing func(database int) (renewed func())

	// Lease is how long a node's hold on its shards lasts without renewal. Default 10 s,
	// at least 500 ms. PostgreSQL's timeouts are set below it. It should be the same on
	// all nodes.
	Lease time.Duration

	// Patience is how long batches and reads wait for a database that cannot be reached
	// before they fail, and how long it is tried to settle an unknown outcome before it is
	// reported. Default Lease.
	Patience time.Duration

	// Committers is the number of connections per database that commit. Default 1: small
	// commits were fastest so (docs/design.md), and each node of a cluster has its own.
	// More help where values are large.
	Committers int

	// MaxConns is the number of connections per database for reads. Default 8.
	MaxConns int

	// MaxPending and MaxPendingBytes bound what waits to be committed, per database:
	// more is refused. Defaults 32,768 batches and 256 MiB.
	MaxPending      int
	MaxPendingBytes int64

	// Lost is called when a commit found that a shard is not held under the epoch any
	// more. It must not block. Default: nobody is told.
	Lost func(shard uint32, epoch int64)

	// Logger is for what happens in the background. Default: nobody is told.
	Logger *slog.Logger
}

func (o *Options) complete() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	for _, f := range []struct {
		name     string
		value    *int
		def, max int
	}{
		{"Shards", &c.Shards, 1024, 1 << 16},
		{"Committers", &c.Committers, 1, 64},
		{"MaxConns", &c.MaxConns, 8, 1000},
		{"MaxPending", &c.MaxPending, 32768, 1 << 24},
	} {
		if *f.value == 0 {
			*f.value = f.def
		}
		if *f.value < 1 || *f.value > f.max {
			return c, fmt.Errorf("Options.%s is %d, but should be from 1 to %d", f.name, *f.value, f.max)
		}
	}
	if c.MaxPendingBytes <= 0 {
		c.MaxPendingBytes = 256 << 20
	}
	if c.Lease == 0 {
		c.Lease = 10 * time.Second
	}
	if c.Lease < 500*time.Millisecond || c.Lease > time.Hour {
		return c, fmt.Errorf("Options.Lease is %v, but should be from 500ms to 1h", c.Lease)
	}
	if c.Patience <= 0 {
		c.Patience = c.Lease
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Renewing == nil {
		c.Renewing = func(int) func() { return func() {} }
	}
	if c.Lost == nil {
		c.Lost = func(uint32, int64) {}
	}
	return c, nil
}

// Store is a store.Store on PostgreSQL.
type Store struct {
	opts   Options
	log    *slog.Logger
	id     string // of the store, the same in all its databases
	shards uint32
	dbs    []*Database
	alone  *standalone // nil in a cluster

	life   context.Context // ends when the store is closed, after all calls
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool          // guarded by mu
	err    error         // what every call returns, once broken; guarded by mu
	active int           // calls under way; guarded by mu
	idle   chan struct{} // closed when closed is set and active is 0; guarded by mu
}

var _ store.Store = (*Store)(nil)

// Open opens the store in the given databases, PostgreSQL connection strings or URLs,
// and makes it if all of them are empty. The order and number of databases are fixed
// then; where they are may change. The first one has to be reachable; another that is
// not stops its shards alone.
//
// It returns store.ErrNewerFormat, with Standalone store.ErrInUse, and an error if a
// database is not the one it should be, is a replica, or runs without fsync or
// synchronous_commit.
func Open(ctx context.Context, databases []string, opts *Options) (*Store, error) {
	o, err := opts.complete()
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	s := &Store{opts: o, log: o.Logger, idle: make(chan struct{})}
	s.life, s.cancel = context.WithCancel(context.Background())
	if err := s.open(ctx, databases); err != nil {
		s.shut()
		return nil, fmt.Errorf("open store: %w", err)
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, databases []string) error {
	if len(databases) == 0 || len(databases) > maxDatabases {
		return fmt.Errorf("%d databases, but should be from 1 to %d", len(databases), maxDatabases)
	}
	for i, dsn := range databases {
		d, err := newDatabase(s, i, dsn)
		if err != nil {
			return err
		}
		s.dbs = append(s.dbs, d)
	}
	if err := s.make(ctx); err != nil {
		return err
	}
	for _, d := range s.dbs {
		d.start()
	}
	if s.opts.Standalone {
		return s.startAlone(ctx)
	}
	return nil
}

// Shards returns the number of shards.
func (s *Store) Shards() uint32 { return s.shards }

// Lease returns Options.Lease.
func (s *Store) Lease() time.Duration { return s.opts.Lease }

// ID names the store: it is made with it and the same in all its databases.
func (s *Store) ID() string { return s.id }

// ShardOf returns the shard of an object: the first eight bytes of the SHA-256 of its
// namespace (four bytes, big endian) and its id, big endian, modulo the number of shards.
func (s *Store) ShardOf(o store.Object) uint32 { return shardOf(o, s.shards) }

func shardOf(o store.Object, shards uint32) uint32 {
	k := objectKey(o)
	sum := sha256.Sum256(k[:])
	return uint32(binary.BigEndian.Uint64(sum[:8]) % uint64(shards))
}

// Databases returns the store's databases in their order.
func (s *Store) Databases() []*Database { return s.dbs }

// DatabaseOf returns the database in which a shard lies.
func (s *Store) DatabaseOf(shard uint32) *Database { return s.dbs[int(shard)%len(s.dbs)] }

// enter begins a call; if it returns nil, leave ends it.
func (s *Store) enter(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return store.ErrClosed
	}
	if s.err != nil {
		return s.err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.active++
	return nil
}

func (s *Store) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	if s.closed && s.active == 0 {
		close(s.idle)
	}
}

// broken returns what every call returns now, or nil.
func (s *Store) broken() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// fail breaks the store.
func (s *Store) fail(cause error) {
	s.mu.Lock()
	first := s.err == nil && !s.closed
	if s.err == nil {
		s.err = fmt.Errorf("%w: %w", store.ErrBroken, cause)
	}
	s.mu.Unlock()
	if first {
		s.log.Error("store is broken", "err", cause)
	}
	for _, d := range s.dbs {
		d.Release(d.Shards()...)
	}
}

// Close implements store.Store. It waits for calls and commits under way, for as long as
// PostgreSQL's timeouts let them last. With Standalone it gives up its lease.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	if s.active == 0 {
		close(s.idle)
	}
	err := s.err
	s.mu.Unlock()
	<-s.idle
	for _, d := range s.dbs {
		d.stop()
	}
	if s.alone != nil {
		s.alone.stop()
	}
	s.shut()
	if err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// shut closes all connections.
func (s *Store) shut() {
	s.cancel()
	for _, d := range s.dbs {
		d.close()
	}
}

var errNotHeld = errors.New("its shard is not held here")
