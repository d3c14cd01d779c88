package pgstore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/perdure/perdure/store"
)

// migrations lead from each version of the schema to the next. They are written down in
// docs/format.md. One that has been released is not changed any more.
var migrations = []string{`
CREATE TABLE perdure.shards (
	shard    int8   PRIMARY KEY,
	epoch    int8   NOT NULL DEFAULT 0,
	settled  int8   NOT NULL DEFAULT 0,
	owner    int8   NOT NULL DEFAULT 0,
	version  int8   NOT NULL DEFAULT 1
) WITH (fillfactor = 50);

CREATE TABLE perdure.nodes (
	id        int8        GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	name      text        NOT NULL,
	address   text        NOT NULL,
	lease     int8        NOT NULL,
	beat      int8        NOT NULL DEFAULT 0,
	draining  bool        NOT NULL DEFAULT false,
	ended     bool        NOT NULL DEFAULT false,
	stats     bytea,
	started   timestamptz NOT NULL DEFAULT now(),
	renewed   timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 20);

CREATE TABLE perdure.commits (
	writer  int8        PRIMARY KEY,
	number  int8        NOT NULL,
	at      timestamptz NOT NULL
) WITH (fillfactor = 20);

CREATE TABLE perdure.objects (
	object     bytea PRIMARY KEY,
	shard      int8  NOT NULL,
	namespace  int8  NOT NULL,
	name       bytea,
	size       int8  NOT NULL,
	due        int8,
	retries    int8  NOT NULL,
	next       int8
) WITH (fillfactor = 80);
CREATE INDEX objects_name ON perdure.objects (namespace, name) WHERE name IS NOT NULL;
CREATE INDEX objects_alarm ON perdure.objects (shard, next) WHERE next IS NOT NULL;

CREATE TABLE perdure.keys (
	object  bytea,
	key     bytea,
	value   bytea NOT NULL,
	PRIMARY KEY (object, key)
) WITH (fillfactor = 90);
DO $$ BEGIN
	ALTER TABLE perdure.keys ALTER COLUMN value SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
	ALTER TABLE perdure.keys ALTER COLUMN value SET STORAGE EXTERNAL;
END $$;

CREATE TABLE perdure.meta (
	key    bytea PRIMARY KEY,
	value  bytea NOT NULL
);
`}

// createStore makes the table that says what a database is.
const createStore = `CREATE TABLE perdure.store (
	id         text NOT NULL,
	database   int8 NOT NULL,
	databases  int8 NOT NULL,
	shards     int8 NOT NULL,
	format     int8 NOT NULL,
	complete   bool NOT NULL,
	map        int8 NOT NULL
)`

// identity is the row of perdure.store.
type identity struct {
	id                  string
	database, databases int
	shards              int
	format              int
	complete            bool // of database 0: all others have been made
}

// migrationLock is the number of the advisory lock that migrations are made under.
const migrationLock = 0x70657264757265

// prepare makes a database part of the store, if it is empty and may, and brings its
// schema up to date, in one transaction and one process at a time. what is called for an
// empty database and returns what to make it, or an error.
func (d *Database) prepare(ctx context.Context, conn *pgx.Conn, what func() (identity, error)) (it identity, err error) {
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(migrationLock)); err != nil {
			return err
		}
		var schema, table bool
		err := tx.QueryRow(ctx, `SELECT to_regnamespace('perdure') IS NOT NULL, to_regclass('perdure.store') IS NOT NULL`).Scan(&schema, &table)
		if err != nil {
			return err
		}
		if !table {
			if it, err = what(); err != nil {
				return err
			}
			if !schema {
				if _, err := tx.Exec(ctx, `CREATE SCHEMA perdure`); err != nil {
					return err
				}
			}
			if _, err := tx.Exec(ctx, createStore); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, `INSERT INTO perdure.store VALUES ($1, $2, $3, $4, 0, false, 1)`, it.id, it.database, it.databases, it.shards); err != nil {
				return err
			}
		}
		if it, err = readIdentity(ctx, tx); err != nil {
			return err
		}
		if it.format > len(migrations) {
			return fmt.Errorf("%w: its schema has version %d, this program knows %d", store.ErrNewerFormat, it.format, len(migrations))
		}
		for ; it.format < len(migrations); it.format++ {
			if _, err := tx.Exec(ctx, migrations[it.format], pgx.QueryExecModeSimpleProtocol); err != nil {
				return fmt.Errorf("migration to version %d: %w", it.format+1, err)
			}
			if it.format == 0 {
				if _, err := tx.Exec(ctx, `INSERT INTO perdure.shards (shard) SELECT generate_series($1::int8, $2::int8 - 1, $3::int8)`, it.database, it.shards, it.databases); err != nil {
					return err
				}
			}
		}
		_, err = tx.Exec(ctx, `UPDATE perdure.store SET format = $1 WHERE format <> $1`, it.format)
		return err
	})
	return it, err
}

func readIdentity(ctx context.Context, tx pgx.Tx) (it identity, err error) {
	err = tx.QueryRow(ctx, `SELECT id, database, databases, shards, format, complete FROM perdure.store`).
		Scan(&it.id, &it.database, &it.databases, &it.shards, &it.format, &it.complete)
	return it, err
}

// make opens all databases, and makes the store in them if the first is empty.
func (s *Store) make(ctx context.Context) error {
	first := s.dbs[0]
	it, err := first.prepareNow(ctx, func() (identity, error) {
		id := make([]byte, 16)
		rand.Read(id)
		return identity{id: hex.EncodeToString(id), databases: len(s.dbs), shards: s.opts.Shards}, nil
	})
	if err != nil {
		return err
	}
	s.id, s.shards = it.id, uint32(it.shards)
	if err := first.check(it); err != nil {
		return err
	}
	first.checked.Store(true)
	if it.complete {
		// A database that is down stops its own shards alone, also now.
		for _, d := range s.dbs[1:] {
			if err := d.ready(ctx); err != nil {
				if !unreachable(err) {
					return err
				}
				s.log.Error("database is not reachable, its shards stand still", "database", d.String(), "err", err)
			}
		}
		return nil
	}
	for _, d := range s.dbs[1:] {
		it, err := d.prepareNow(ctx, func() (identity, error) {
			return identity{id: s.id, database: d.index, databases: len(s.dbs), shards: int(s.shards)}, nil
		})
		if err != nil {
			return err
		}
		if err := d.check(it); err != nil {
			return err
		}
		d.checked.Store(true)
	}
	conn, err := first.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, `UPDATE perdure.store SET complete = true`); err != nil {
		return first.wrap(err)
	}
	return nil
}

// ready returns nil when the database is known to be the one it should be, with the
// schema that this program knows.
func (d *Database) ready(ctx context.Context) error {
	if d.checked.Load() {
		return nil
	}
	select {
	case d.checking <- struct{}{}:
		defer func() { <-d.checking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if d.checked.Load() {
		return nil
	}
	it, err := d.prepareNow(ctx, func() (identity, error) {
		return identity{}, errors.New("it is empty, but the store has been there: its shards' objects are missing")
	})
	if err != nil {
		return err
	}
	if err := d.check(it); err != nil {
		return err
	}
	d.checked.Store(true)
	return nil
}

// check says what is wrong with a database in this place of the list.
func (d *Database) check(it identity) error {
	switch s := d.s; {
	case it.databases != len(s.dbs):
		return fmt.Errorf("%s: the store was made over %d databases, but %d are given", d, it.databases, len(s.dbs))
	case it.id != s.id:
		return fmt.Errorf("%s: it belongs to the store %s, database 0 to the store %s", d, it.id, s.id)
	case it.database != d.index:
		return fmt.Errorf("%s: it is the store's database %d: the order of the list is not the one that the store was made with", d, it.database)
	case it.shards != int(s.shards):
		return fmt.Errorf("%s: it has %d shards, database 0 has %d", d, it.shards, s.shards)
	}
	return nil
}

func (d *Database) prepareNow(ctx context.Context, what func() (identity, error)) (identity, error) {
	conn, err := d.connectSlow(ctx)
	if err != nil {
		return identity{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	it, err := d.prepare(ctx, conn, what)
	return it, d.wrap(err)
}

// connect makes a connection outside the pools.
func (d *Database) connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.ConnectConfig(ctx, d.config.Copy())
	if err != nil {
		return nil, d.wrap(err)
	}
	return conn, nil
}

// connectSlow makes one whose statements may take long: for migrations.
func (d *Database) connectSlow(ctx context.Context) (*pgx.Conn, error) {
	conn, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, `SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = '1min'`, pgx.QueryExecModeSimpleProtocol); err != nil {
		conn.Close(ctx)
		return nil, d.wrap(err)
	}
	return conn, nil
}

// unreachable reports whether an error says that no connection could be made, or that
// the server does not take any now.
func unreachable(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch pg.Code {
		case "57P01", "57P02", "57P03", "53300": // shutting down, crashed, starting, too many connections
			return true
		}
		return false
	}
	var connect *pgconn.ConnectError
	return errors.As(err, &connect)
}
