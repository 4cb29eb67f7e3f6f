package health

import (
	"time"

	"github.com/healthpool/caddy-healthpool/internal/cause"
)

// maxEjection is the longest ejection (max_ejection_time in Envoy and gRPC).
const maxEjection = 5 * time.Minute

// Eject ejects a healthy upstream because its requests fail, and reports whether it did.
// Each ejection lasts twice as long as the one before, up to maxEjection; for each
// Policy.Ejection that it stayed healthy in between, one of them is forgotten. random, from
// 0 to 1, jitters the end by 50 %, so that upstreams ejected together do not come back
// together.
//
// When the time is over, the next passed check brings it back.
func (s *State) Eject(p Policy, now time.Time, c cause.Cause, detail string, random float64) bool {
	if s.status != Healthy {
		return false
	}
	s.ejections = max(0, s.ejections-int(now.Sub(s.since)/p.Ejection))
	s.until = now.Add(time.Duration(float64(ejectionTime(p, s.ejections)) * (0.5 + random)))
	s.ejections++
	s.status, s.since, s.cause, s.detail = Ejected, now, c, detail
	return true
}

// ejectionTime returns how long an ejection lasts after n others, before jitter.
func ejectionTime(p Policy, n int) time.Duration {
	d := p.Ejection
	for range n {
		if d >= maxEjection/2 {
			return maxEjection
		}
		d *= 2
	}
	return min(d, maxEjection)
}

// MayEject reports whether one more upstream may be ejected, given how many are usable, how
// many of these are ejected, and which share may be. At least one may be ejected, so that
// small pools are protected too; the last one never.
func MayEject(usable, ejected int, share float64) bool {
	return usable-ejected > 1 && ejected < max(1, int(share*float64(usable)))
}
