package main

import (
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/perdure/perdure/calendar/worker"
)

// readSettings reads the variables that are neither the objects' nor secrets. What can't
// be meant is an error: who sets a limit wants it.
func (cfg *config) readSettings() (err error) {
	cfg.allowedHosts = cfg.list("PERDURE_ALLOWED_HOSTS")
	cfg.allowedOrigins = cfg.list("PERDURE_ALLOWED_ORIGINS")
	for _, o := range cfg.allowedOrigins {
		if err := worker.CheckOrigin(o); err != nil {
			return fmt.Errorf("PERDURE_ALLOWED_ORIGINS: %w", err)
		}
	}
	if cfg.rate, err = readRate(cfg.variable("PERDURE_RATE_LIMIT")); err != nil {
		return fmt.Errorf("PERDURE_RATE_LIMIT: %w", err)
	}
	if cfg.keepAlive, err = readKeepAlive(cfg.variable("KEEP_ALIVE_INTERVAL")); err != nil {
		return fmt.Errorf("KEEP_ALIVE_INTERVAL: %w", err)
	}
	if cfg.ttl, err = worker.LookupTTL(cfg.variable); err != nil {
		return err
	}
	if cfg.logLevel, err = cfg.readLogLevel(); err != nil {
		return fmt.Errorf("LOG_LEVEL: %w", err)
	}
	return nil
}

// list reads a variable whose entries are separated by commas or spaces.
func (cfg *config) list(name string) []string {
	return strings.FieldsFunc(cfg.variable(name), func(r rune) bool { return r == ',' || r == ' ' })
}

// readRate returns what worker.Options want: there 0 is the default, here it is none.
func readRate(text string) (float64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil || math.IsNaN(n) || n < 0 || n > 1e6:
		return 0, fmt.Errorf("%.50q is not a number of requests a second, from 0 (no limit) to 1000000", text)
	case n == 0:
		return -1, nil
	}
	return n, nil
}

// readKeepAlive reads milliseconds, 0 for never.
func readKeepAlive(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 32)
	switch {
	case err != nil || n > 0 && n < 100:
		return 0, fmt.Errorf("%.50q is not a number of milliseconds, at least 100, or 0 for never", text)
	case n == 0:
		return -1, nil
	}
	return time.Duration(n) * time.Millisecond, nil
}

func (cfg *config) readLogLevel() (slog.Level, error) {
	text := strings.ToLower(cfg.variable("LOG_LEVEL"))
	if text == "" {
		if debug, _ := strconv.ParseBool(cfg.variable("DEBUG_MODE")); debug {
			return slog.LevelDebug, nil
		}
		return slog.LevelInfo, nil
	}
	for name, level := range map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "warning": slog.LevelWarn, "error": slog.LevelError,
	} {
		if text == name {
			return level, nil
		}
	}
	return 0, fmt.Errorf("%.50q is none of debug, info, warn and error", text)
}

// localZone is the zone of this machine, which users and calendars without one are in; nil
// if its name can't be told: results name the zone.
func (cfg *config) localZone() *time.Location {
	name, set := cfg.getenv("TZ")
	name = strings.TrimPrefix(name, ":")
	if !set {
		path, err := filepath.EvalSymlinks("/etc/localtime")
		if err != nil {
			return nil
		}
		_, name, _ = strings.Cut(filepath.ToSlash(path), "/zoneinfo/")
	}
	if name == "" || name == "Local" || filepath.IsAbs(name) {
		return nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil
	}
	return zone
}
