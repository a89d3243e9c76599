//go:build nextformat && !writenext

package redisstore

const writes = 1
