package main

import (
	"os"
	"regexp"
	"runtime"
	"strconv"
)

// highWater is the line of Linux's /proc/self/status that tells how much resident memory the process had at most.
var highWater = regexp.MustCompile(`(?m)^VmHWM:\s+(\d+) kB$`)

// peakMemory returns the largest amount of resident memory so far, in bytes. Where the system does not tell, it is the
// amount that the runtime has reserved, which is somewhat more.
func peakMemory() uint64 {
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		if match := highWater.FindSubmatch(status); match != nil {
			if kib, err := strconv.ParseUint(string(match[1]), 10, 64); err == nil {
				return kib << 10
			}
		}
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.Sys
}
