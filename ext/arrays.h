/* NumPy's type numbers as dtypes of the kernels. NumPy names C types, several of them of one size. */
#ifndef PARLINALG_ARRAYS_H
#define PARLINALG_ARRAYS_H

#include <numpy/ndarraytypes.h>

#include "kernels.h"

static inline int dtype_of_number(int number) {
    switch (number) {
    case NPY_BOOL: return BOOL;
    case NPY_BYTE: return I8;
    case NPY_UBYTE: return U8;
    case NPY_SHORT: return I16;
    case NPY_USHORT: return U16;
    case NPY_INT: return I32;
    case NPY_UINT: return U32;
    case NPY_LONG: return sizeof(long) == 8 ? I64 : I32;
    case NPY_ULONG: return sizeof(long) == 8 ? U64 : U32;
    case NPY_LONGLONG: return I64;
    case NPY_ULONGLONG: return U64;
    case NPY_HALF: return F16;
    case NPY_FLOAT: return F32;
    case NPY_DOUBLE: return F64;
    case NPY_LONGDOUBLE: return LONGDOUBLE;
    case NPY_CFLOAT: return C64;
    case NPY_CDOUBLE: return C128;
    case NPY_CLONGDOUBLE: return CLONGDOUBLE;
    default: return DTYPES;   /* not a number */
    }
}

#endif
