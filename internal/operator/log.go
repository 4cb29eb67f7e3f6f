package operator

import (
	"net/http"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/healthpool/caddy-healthpool/internal/cause"
	"github.com/healthpool/caddy-healthpool/internal/health"
	"github.com/healthpool/caddy-healthpool/internal/outage"
	"github.com/healthpool/caddy-healthpool/internal/pool"
)

// Report has a pool report what changes: to the log, in one line per change with the
// reason and none per check, to the metrics, and to whoever has subscribed to events.
func Report(p *pool.Pool, logger *zap.Logger, events *Events) {
	o, name := &p.Options, p.Name
	logger = logger.With(zap.String("pool", name))
	var wasDown atomic.Bool
	isDown, _ := p.DownSince()
	wasDown.Store(isDown)
	o.OnTransition = func(t pool.Transition) {
		logTransition(logger, t)
		countTransition(name, t, p.Status)
		events.transition(name, t)
	}
	o.OnState = func(s pool.State) {
		logState(logger, s)
		if isDown := s == pool.Down; wasDown.Swap(isDown) != isDown {
			events.state(name, s)
		}
	}
	addMetricHooks(o)
	o.OnSource = func(source string, err error) { logSource(logger, source, err) }
	o.OnRefused = func(source string, err error) {
		logger.Warn("source lists what cannot be used; that is left out", zap.String("source", source), zap.Error(err))
	}
	o.OnIntent = func(upstream string, on bool) { logIntent(logger, upstream, on) }
}

func logTransition(logger *zap.Logger, t pool.Transition) {
	fields := []zap.Field{
		zap.String("upstream", t.Upstream), zap.Duration("check_duration", t.CheckDuration),
		zap.Int("passes", t.Passes), zap.Int("fails", t.Fails),
	}
	if t.After > 0 {
		fields = append(fields, zap.Duration("after", t.After))
	}
	if t.To == health.Healthy {
		logger.Info("upstream is healthy", fields...)
		return
	}
	logger.Warn("upstream is "+t.To.String(), append(fields,
		zap.String("cause", string(t.Cause)), zap.String("detail", t.Detail),
		zap.String("advice", pool.Advice(t.To, t.Cause)))...)
}

func logState(logger *zap.Logger, s pool.State) {
	if s == pool.Down {
		logger.Error("pool is down: no upstream can answer")
		return
	}
	logger.Info("pool is " + string(s))
}

func logSource(logger *zap.Logger, source string, err error) {
	if err != nil {
		logger.Warn("source failed; its last good list stands", zap.String("source", source), zap.Error(err))
		return
	}
	logger.Info("source is good again", zap.String("source", source))
}

func logIntent(logger *zap.Logger, upstream string, on bool) {
	switch {
	case upstream == "" && on:
		logger.Info("pool is closed for maintenance")
	case upstream == "":
		logger.Info("maintenance of the pool is over")
	case on:
		logger.Info("upstream is drained: it gets no new requests", zap.String("upstream", upstream))
	default:
		logger.Info("upstream is no longer drained", zap.String("upstream", upstream))
	}
}

// Outage is what is logged about the first request during an outage.
type Outage struct {
	outage.Outage
	// Cause is that of this request; other requests may fail for another one.
	Cause    cause.Cause
	Fate     cause.Fate
	Upstream string
	Err      error
	Request  *http.Request
}

// LogOutage logs an outage, with the reference that visitors are given.
func LogOutage(logger *zap.Logger, o Outage) {
	if o.Planned {
		logger.Info("pool is in maintenance", zap.String("err_id", o.Reference), zap.String("pool", o.Pool))
		return
	}
	logger.Error("no healthy upstream",
		zap.String("err_id", o.Reference), zap.String("cause", string(o.Cause)),
		zap.String("fate", string(o.Fate)), zap.String("pool", o.Pool),
		zap.String("upstream", o.Upstream), zap.Error(o.Err),
		zap.String("advice", o.Cause.Advice()),
		zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: o.Request}))
}

// LogMore returns a function that logs how many more requests failed in an outage.
func LogMore(logger *zap.Logger) func(outage.Outage) {
	return func(o outage.Outage) {
		if o.Planned {
			logger.Info("pool is in maintenance for more requests", zap.String("err_id", o.Reference),
				zap.String("pool", o.Pool), zap.Int("suppressed", o.Suppressed))
			return
		}
		logger.Error("no healthy upstream for more requests",
			zap.String("err_id", o.Reference), zap.String("cause", string(o.Cause)), zap.String("pool", o.Pool),
			zap.Int("suppressed", o.Suppressed), zap.Time("first", o.Since), zap.Time("latest", o.Latest))
	}
}
