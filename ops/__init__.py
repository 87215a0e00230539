"""Operations: what people run, watch and repair Earnest with."""
