"""Programs: absl flags in front of `kd_keras.training`."""
