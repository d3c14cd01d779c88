package pgstore

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/pgstore/pgtest"
)

var benchValue = make([]byte, 100)

func benchKey(r *rand.Rand) string { return fmt.Sprintf("key%04d", r.IntN(1000)) }

// benchObject is the object of caller g: over many shards, as objects are.
func benchObject(g int) store.Object {
	return store.Object{Namespace: 1, ID: [32]byte{byte(g), byte(g >> 8), 1}}
}

// share runs b.N operations over n goroutines.
func share(b *testing.B, n int, op func(g int, r *rand.Rand)) {
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	var wg sync.WaitGroup
	for g := range n {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(g)))
			for left.Add(-1) >= 0 {
				op(g, r)
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
}

// put is one commit of a raw committer.
type put struct {
	shard       int64
	object, key []byte
	done        chan struct{}
}

// rawCommitters send what has come in as one statement and do nothing else: what
// PostgreSQL can do with grouped and fenced commits.
func rawCommitters(b *testing.B, server *pgtest.Server, name string, n int) []chan put {
	var all []chan put
	var wg sync.WaitGroup
	for range n {
		conn := server.Connect(b, name)
		queue := make(chan put, 4096)
		all = append(all, queue)
		wg.Go(func() {
			for first := range queue {
				puts := []put{first}
				for more := true; more && len(puts) < 4096; {
					select {
					case p, ok := <-queue:
						if more = ok; ok {
							puts = append(puts, p)
						}
					default:
						more = false
					}
				}
				rawStatement(b, conn, puts)
				for _, p := range puts {
					close(p.done)
				}
			}
		})
	}
	b.Cleanup(func() {
		for _, queue := range all {
			close(queue)
		}
		wg.Wait()
	})
	return all
}

const rawSQL = `
WITH g AS MATERIALIZED (SELECT shard FROM raw_shards WHERE shard = ANY ($1) AND epoch = 1 ORDER BY shard FOR SHARE),
	w AS (INSERT INTO raw (object, key, value) SELECT object, key, value FROM unnest($2::bytea[], $3::bytea[], $4::bytea[]) AS t (object, key, value)
		WHERE EXISTS (SELECT FROM g) ON CONFLICT (object, key) DO UPDATE SET value = excluded.value RETURNING 1)
SELECT (SELECT count(*) FROM g), (SELECT count(*) FROM w)`

const rawTables = `
CREATE TABLE raw (object bytea, key bytea, value bytea NOT NULL, PRIMARY KEY (object, key));
CREATE TABLE raw_shards (shard int8 PRIMARY KEY, epoch int8 NOT NULL);
INSERT INTO raw_shards SELECT n, 1 FROM generate_series(0, 1023) n;`

func rawStatement(b *testing.B, conn *pgx.Conn, puts []put) {
	var shards []int64
	var objects, keys, values [][]byte
	last := map[string]int{}
	for _, p := range puts {
		k := string(p.object) + "\x00" + string(p.key)
		if _, ok := last[k]; ok {
			continue
		}
		last[k] = 1
		shards = append(shards, p.shard)
		objects, keys, values = append(objects, p.object), append(keys, p.key), append(values, benchValue)
	}
	slices.Sort(shards)
	if _, err := conn.Exec(ctx, rawSQL, slices.Compact(shards), objects, keys, values); err != nil {
		b.Error(err)
	}
}

// BenchmarkCommit compares durable commits of objects of their own, one key of a
// thousand each, over 1,024 shards: with what a grouped statement can do at best, and
// with a transaction for each commit.
func BenchmarkCommit(b *testing.B) {
	server := pgtest.New(b, "shared_buffers=512MB", "max_wal_size=4GB")
	for _, n := range []int{1, 64, 256} {
		for _, committers := range []int{1, 2, 4} {
			b.Run(fmt.Sprintf("raw/callers=%d/committers=%d", n, committers), func(b *testing.B) {
				name := server.NewDatabase(b)
				server.Exec(b, name, rawTables)
				queues := rawCommitters(b, server, name, committers)
				share(b, n, func(g int, r *rand.Rand) {
					o := benchObject(g)
					k := objectKey(o)
					shard := shardOf(o, 1024)
					p := put{int64(shard), k[:], []byte(benchKey(r)), make(chan struct{})}
					queues[int(shard)%committers] <- p
					<-p.done
				})
			})
			b.Run(fmt.Sprintf("ours/callers=%d/committers=%d", n, committers), func(b *testing.B) {
				s := openAlone(b, Options{Shards: 1024, Committers: committers}, server.Database(b))
				benchCommits(b, s, n)
			})
		}
		b.Run(fmt.Sprintf("transaction-each/callers=%d", n), func(b *testing.B) {
			name := server.NewDatabase(b)
			server.Exec(b, name, rawTables)
			conns := make(chan *pgx.Conn, 32)
			for range cap(conns) {
				conns <- server.Connect(b, name)
			}
			share(b, n, func(g int, r *rand.Rand) {
				o := benchObject(g)
				k := objectKey(o)
				conn := <-conns
				rawStatement(b, conn, []put{{int64(shardOf(o, 1024)), k[:], []byte(benchKey(r)), nil}})
				conns <- conn
			})
		})
	}
}

func benchCommits(b *testing.B, s *Store, n int) {
	h := &store.Header{Size: 100}
	for g := range n {
		if err := s.Apply(&store.Batch{Object: benchObject(g), Header: h}).Wait(); err != nil {
			b.Fatal(err)
		}
	}
	share(b, n, func(g int, r *rand.Rand) {
		c := s.Apply(&store.Batch{Object: benchObject(g), Prev: h, Header: h, Ops: []store.Op{{Key: benchKey(r), Value: benchValue}}})
		if err := c.Wait(); err != nil {
			b.Error(err)
		}
	})
}
