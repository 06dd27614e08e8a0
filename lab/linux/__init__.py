"""``./launch.sh linux``: a real Linux kernel as the guest of our host."""
