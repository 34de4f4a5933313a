"""Operations from volume to volume: resampling, intensity, lungs, nodules, patches, quality."""
