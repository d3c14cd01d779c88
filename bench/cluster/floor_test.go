package cluster

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/perdure/perdure/store/pgstore/pgtest"
)

const floorTables = `
CREATE TABLE counters (object bytea PRIMARY KEY, value bytea NOT NULL);
CREATE TABLE fences (shard int8 PRIMARY KEY, epoch int8 NOT NULL);
INSERT INTO fences SELECT n, 1 FROM generate_series(0, 1023) n;`

// floorSQL is a fenced commit of many objects and nothing else.
const floorSQL = `
WITH f AS MATERIALIZED (SELECT shard FROM fences WHERE shard = ANY ($1) AND epoch = 1 ORDER BY shard FOR SHARE)
INSERT INTO counters SELECT object, value FROM unnest($2::bytea[], $3::bytea[]) AS t (object, value) WHERE EXISTS (SELECT FROM f)
ON CONFLICT (object) DO UPDATE SET value = excluded.value`

// floor is PostgreSQL without anything of ours.
type floor struct {
	conns []*pgx.Conn
}

func newFloor(b *testing.B, server *pgtest.Server) *floor {
	name := server.NewDatabase(b)
	server.Exec(b, name, floorTables)
	f := new(floor)
	for range 32 {
		f.conns = append(f.conns, server.Connect(b, name))
	}
	return f
}

type increment struct {
	client int
	value  []byte
	done   chan struct{}
}

// grouped is the rate of clients whose increments two committers send together.
func (f *floor) grouped(b *testing.B, clients int) float64 {
	const committers = 2
	var queues [committers]chan increment
	var committing sync.WaitGroup
	for i := range queues {
		queues[i] = make(chan increment, clients)
		committing.Go(func() { f.commit(b, f.conns[i], queues[i]) })
	}
	rate := f.run(clients, func(client, n int) {
		inc := increment{client, []byte(strconv.Itoa(n)), make(chan struct{})}
		queues[client%committers] <- inc
		<-inc.done
	})
	for _, q := range queues {
		close(q)
	}
	committing.Wait()
	return rate
}

func (f *floor) commit(b *testing.B, conn *pgx.Conn, queue chan increment) {
	for first := range queue {
		group := []increment{first}
		for more := true; more; {
			select {
			case inc, ok := <-queue:
				if more = ok; ok {
					group = append(group, inc)
				}
			default:
				more = false
			}
		}
		send(b, conn, group)
		for _, inc := range group {
			close(inc.done)
		}
	}
}

func send(b *testing.B, conn *pgx.Conn, group []increment) {
	slices.SortFunc(group, func(a, c increment) int { return a.client - c.client })
	var shards []int64
	var names, values [][]byte
	for _, inc := range group {
		shards = append(shards, int64(inc.client%1024))
		names = append(names, []byte("an object's name of thirty bytes "+strconv.Itoa(inc.client)))
		values = append(values, inc.value)
	}
	if _, err := conn.Exec(context.Background(), floorSQL, shards, names, values); err != nil {
		b.Error(err)
	}
}

// single is the rate of clients whose increments are a transaction each, over 32 connections.
func (f *floor) single(b *testing.B, clients int) float64 {
	free := make(chan *pgx.Conn, len(f.conns))
	for _, conn := range f.conns {
		free <- conn
	}
	return f.run(clients, func(client, n int) {
		conn := <-free
		send(b, conn, []increment{{client: client, value: []byte(strconv.Itoa(n))}})
		free <- conn
	})
}

func (f *floor) run(clients int, add func(client, n int)) float64 {
	var done atomic.Int64
	var wg sync.WaitGroup
	end := time.Now().Add(turn)
	for client := range clients {
		wg.Go(func() {
			for n := 0; time.Now().Before(end); n++ {
				add(client, n)
				done.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(done.Load()) / turn.Seconds()
}
