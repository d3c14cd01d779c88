package pgstore

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

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

// share runs count operations over n goroutines.
func share(count, n int, seed uint64, op func(g int, r *rand.Rand)) {
	var left atomic.Int64
	left.Store(int64(count))
	var wg sync.WaitGroup
	for g := range n {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(g)))
			for left.Add(-1) >= 0 {
				op(g, r)
			}
		})
	}
	wg.Wait()
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

// BenchmarkCommit commits to objects of their own, one key of a thousand each, over 1,024
// shards: with the store, with a grouped statement and nothing else (what PostgreSQL can do at
// best), and with a transaction for each commit. The three take turns, so that whatever
// else the machine does hits all of them; share is the median of the turns.
func BenchmarkCommit(b *testing.B) {
	server := pgtest.New(b, "shared_buffers=512MB", "max_wal_size=4GB")
	for _, n := range []int{1, 64, 256} {
		for _, committers := range []int{1, 2, 4} {
			b.Run(fmt.Sprintf("callers=%d/committers=%d", n, committers), func(b *testing.B) { benchTurns(b, server, n, committers) })
		}
	}
}

func benchTurns(b *testing.B, server *pgtest.Server, n, committers int) {
	const turns = 20
	name := server.NewDatabase(b)
	server.Exec(b, name, rawTables)
	queues := rawCommitters(b, server, name, committers)
	conns := make(chan *pgx.Conn, 32)
	for range cap(conns) {
		conns <- server.Connect(b, name)
	}
	s := openAlone(b, Options{Shards: 1024, Committers: committers}, server.Database(b))
	h := &store.Header{Size: 100}
	for g := range n {
		if err := s.Apply(&store.Batch{Object: benchObject(g), Header: h}).Wait(); err != nil {
			b.Fatal(err)
		}
	}
	ours := func(g int, r *rand.Rand) {
		c := s.Apply(&store.Batch{Object: benchObject(g), Prev: h, Header: h, Ops: []store.Op{{Key: benchKey(r), Value: benchValue}}})
		if err := c.Wait(); err != nil {
			b.Error(err)
		}
	}
	raw := func(g int, r *rand.Rand) {
		k := objectKey(benchObject(g))
		shard := shardOf(benchObject(g), 1024)
		p := put{int64(shard), k[:], []byte(benchKey(r)), make(chan struct{})}
		queues[int(shard)%committers] <- p
		<-p.done
	}
	each := func(g int, r *rand.Rand) {
		k := objectKey(benchObject(g))
		conn := <-conns
		rawStatement(b, conn, []put{{int64(shardOf(benchObject(g), 1024)), k[:], []byte(benchKey(r)), nil}})
		conns <- conn
	}
	var shares []float64
	var times [3]time.Duration
	count := [3]int{b.N/turns + n, b.N/turns + n, (b.N/turns + n) / 4}
	b.ResetTimer()
	for turn := range turns + 1 {
		var took [3]time.Duration
		for i, op := range []func(int, *rand.Rand){ours, raw, each} {
			began := time.Now()
			share(count[i], n, uint64(turn), op)
			took[i] = time.Since(began)
		}
		if turn == 0 {
			continue // tables and caches are cold
		}
		for i := range times {
			times[i] += took[i]
		}
		shares = append(shares, float64(took[1])/float64(took[0]))
	}
	slices.Sort(shares)
	b.ReportMetric(100*shares[len(shares)/2], "%share")
	for i, what := range []string{"ours/s", "raw/s", "transactions/s"} {
		b.ReportMetric(float64(turns*count[i])/times[i].Seconds(), what)
	}
}

// BenchmarkLargeValues writes and reads values that do not fit a page, as they are
// stored and as PostgreSQL would store them by default, with and without something to
// compress.
func BenchmarkLargeValues(b *testing.B) {
	server := pgtest.New(b, "shared_buffers=512MB", "max_wal_size=4GB")
	random := make([]byte, 128<<10)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	text := []byte(strings.Repeat("BEGIN:VEVENT SUMMARY:nothing much ", 4000))
	for _, size := range []int{4 << 10, 64 << 10, 128 << 10} {
		for content, value := range map[string][]byte{"random": random[:size], "text": text[:size]} {
			for _, storage := range []string{"external", "extended, ALTER COLUMN value SET COMPRESSION pglz", "extended, ALTER COLUMN value SET COMPRESSION lz4"} {
				b.Run(fmt.Sprintf("%dKiB/%s/%s", size>>10, content, storage[strings.LastIndex(storage, " ")+1:]), func(b *testing.B) {
					name := server.NewDatabase(b)
					s := openAlone(b, Options{Shards: 1024}, server.DSN(server.Addr(), name))
					server.Exec(b, name, "ALTER TABLE perdure.keys ALTER COLUMN value SET STORAGE "+storage)
					h := &store.Header{Size: 1 << 30}
					for g := range 16 {
						if err := s.Apply(&store.Batch{Object: benchObject(g), Header: h}).Wait(); err != nil {
							b.Fatal(err)
						}
					}
					b.SetBytes(int64(size))
					b.ResetTimer()
					share(b.N, 16, 1, func(g int, r *rand.Rand) {
						c := s.Apply(&store.Batch{Object: benchObject(g), Prev: h, Header: h, Ops: []store.Op{{Key: fmt.Sprint(r.IntN(20)), Value: value}}})
						if err := c.Wait(); err != nil {
							b.Error(err)
						}
					})
				})
			}
		}
	}
}
